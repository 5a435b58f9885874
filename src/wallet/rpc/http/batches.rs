//! Several calls in one HTTP request, where the endpoint takes that: how many is learned from how it refuses, and forgotten again.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::task::JoinSet;

use super::{Line, framed, id_of};
use crate::wallet::rpc::transport::{Answers, Call, ChainError, Together, is_rate_limit};

/// Calls in one HTTP request. Public endpoints cut at 100 or below.
pub(super) const BATCH: usize = 50;
/// The same for an endpoint that found a batch too long without saying what it takes.
const SMALL_BATCH: usize = 10;
/// Batches at a time: a picture of an account with 500 keys is one round trip.
pub(super) const BATCHES_ABREAST: usize = 32;
/// HTTP requests at a time when the endpoint does not take batches.
const ABREAST: usize = 6;

/// What is known about the batches that an endpoint takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batches {
    /// Calls in one; 1 is none.
    most: usize,
    /// When it was found out; `None` while nothing was.
    since: Option<Instant>,
}

impl Default for Batches {
    fn default() -> Self {
        Self { most: BATCH, since: None }
    }
}

/// What came of one batch.
enum Round {
    Answers(Answers),
    /// The endpoint takes batches of this many calls, or of none but 1.
    Refused(usize),
}

impl Line {
    /// How many calls the endpoint takes in one request. What was found out is forgotten after a while: a machine that took no
    /// batches may have been one of several, or busy.
    fn most(&self) -> usize {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        if batches.since.is_some_and(|since| since.elapsed() >= self.patience.memory) {
            *batches = Batches::default();
        }
        batches.most
    }

    fn takes(&self, most: usize) {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        *batches = Batches { most: most.min(batches.most), since: Some(Instant::now()) };
    }

    /// What looked like a refusal of batches was one of everything.
    pub(super) fn nothing_learned(&self) {
        *self.batches.lock().unwrap_or_else(PoisonError::into_inner) = Batches::default();
    }

    /// In batches where they are taken, else one by one.
    pub(super) async fn in_parts(self: &Arc<Self>, calls: &[Call]) -> Answers {
        match self.batches(calls, true).await {
            Some(answers) => answers,
            None => self.abreast(calls).await,
        }
    }

    /// Several batches at a time. `None` where batches are not taken - with `alone`, what such an endpoint left open is asked one
    /// by one instead.
    pub(super) async fn batches(self: &Arc<Self>, calls: &[Call], alone: bool) -> Option<Answers> {
        let most = self.most();
        if most < 2 {
            return None;
        }
        if calls.len() <= most {
            return self.batch(calls, alone).await;
        }
        let mut running = JoinSet::new();
        for (place, chunk) in calls.chunks(most).map(<[Call]>::to_vec).enumerate() {
            let line = Arc::clone(self);
            running.spawn(async move { (place, line.batch(&chunk, alone).await) });
        }
        let mut done: BTreeMap<usize, Option<Answers>> = BTreeMap::new();
        while let Some(finished) = running.join_next().await {
            done.extend(finished.ok());
        }
        let mut answers = Vec::with_capacity(calls.len());
        for (place, chunk) in calls.chunks(most).enumerate() {
            match done.remove(&place) {
                Some(Some(more)) => answers.extend(more),
                Some(None) => return None,
                None => answers.extend(
                    chunk.iter().map(|call| Err(self.malformed(call, "the answer", "one answer for each call"))),
                ),
            }
        }
        Some(answers)
    }

    /// One batch. Calls that the endpoint does not answer as part of it are asked in smaller ones, or one by one.
    async fn batch(self: &Arc<Self>, calls: &[Call], alone: bool) -> Option<Answers> {
        let started = Instant::now();
        let mut answers: Vec<Option<Result<Value, ChainError>>> = vec![None; calls.len()];
        for attempt in 1.. {
            let open: Vec<usize> = (0..calls.len()).filter(|i| answers.get(*i).is_some_and(Option::is_none)).collect();
            let asked: Vec<&Call> = open.iter().filter_map(|i| calls.get(*i)).collect();
            let (round, pause) = self.batch_once(&asked, attempt).await;
            // Too much for one answer says nothing about batches: only these calls are asked on their own.
            let too_large = |a: &Result<Value, ChainError>| matches!(a, Err(ChainError::TooLarge { .. }));
            let round = match round {
                Round::Answers(round) if asked.len() < 2 || !round.iter().any(too_large) => round,
                refused => {
                    let most = match refused {
                        Round::Refused(most) => Some(most),
                        Round::Answers(_) => None,
                    };
                    if let Some(most) = most {
                        self.takes(most);
                        if most < 2 && !alone {
                            return None;
                        }
                    }
                    let left: Vec<Call> = asked.into_iter().cloned().collect();
                    let parts = match most {
                        Some(most) if most > 1 => self.smaller(&left, most, alone).await?,
                        _ => self.in_turn(&left).await,
                    };
                    for (slot, answer) in open.into_iter().zip(parts) {
                        if let Some(place) = answers.get_mut(slot) {
                            *place = Some(answer);
                        }
                    }
                    break;
                }
            };
            let again = self.pause_before_next(attempt, started, pause);
            let mut unanswered = false;
            for (slot, answer) in open.into_iter().zip(round) {
                let passing = answer.as_ref().is_err_and(ChainError::is_passing);
                if passing && again.is_some() {
                    unanswered = true;
                } else if let Some(place) = answers.get_mut(slot) {
                    *place = Some(answer);
                }
            }
            match again {
                Some(pause) if unanswered => tokio::time::sleep(pause).await,
                _ => break,
            }
        }
        let silent = |call: &Call| self.malformed(call, "the answer", "one answer for each call of a batch");
        let all = answers.into_iter().zip(calls).map(|(answer, call)| answer.unwrap_or_else(|| Err(silent(call))));
        Some(all.collect())
    }

    /// Batches of at most `most` calls, one after the other: the endpoint counts.
    async fn smaller(self: &Arc<Self>, calls: &[Call], most: usize, alone: bool) -> Option<Answers> {
        let mut answers = Vec::with_capacity(calls.len());
        for chunk in calls.chunks(most) {
            answers.extend(match chunk {
                [call] => vec![self.patiently(call).await],
                _ if self.most() < 2 && !alone => return None,
                _ if self.most() < 2 => self.in_turn(chunk).await,
                // Ends: each refusal leaves smaller batches.
                _ => self.part(chunk, alone).await?,
            });
        }
        Some(answers)
    }

    fn part<'a>(self: &'a Arc<Self>, calls: &'a [Call], alone: bool) -> Together<'a> {
        Box::pin(self.batch(calls, alone))
    }

    /// Calls of a batch that was not taken, on their own. Several refused batches take turns. The first goes alone: where it is
    /// refused in the same way, it was not about the batch.
    async fn in_turn(self: &Arc<Self>, calls: &[Call]) -> Answers {
        let _turn = self.one_by_one.lock().await;
        let Some((first, others)) = calls.split_first() else { return Vec::new() };
        let answer = self.patiently(first).await;
        if let Err(error @ (ChainError::HttpStatus { .. } | ChainError::Unreachable { .. })) = &answer {
            let same: Answers = others.iter().map(|call| Err(about(error.clone(), call.purpose))).collect();
            return std::iter::once(answer).chain(same).collect();
        }
        let mut answers = vec![answer];
        answers.extend(self.abreast(others).await);
        answers
    }

    /// One HTTP request with several calls.
    async fn batch_once(&self, calls: &[&Call], attempt: u32) -> (Round, Option<Duration>) {
        let Some(first) = calls.first() else { return (Round::Answers(Vec::new()), None) };
        let none = Round::Refused(1);
        let first_id = self.next_id.fetch_add(calls.len() as u64, Ordering::Relaxed);
        let body = calls.iter().zip(first_id..).map(|(call, id)| framed(call, id)).collect();
        let (answer, pause) = self.post(first.purpose, &Value::Array(body)).await;
        let failed = |error: ChainError| {
            Round::Answers(calls.iter().map(|call| Err(about(error.clone(), call.purpose))).collect())
        };
        let items = match answer {
            Ok(Value::Array(items)) => items,
            // A lone object is how endpoints refuse a batch, or refuse us altogether: asked one by one, each call
            // gets its own reason.
            Ok(object) => {
                return match self.outcome(first, object) {
                    Err(ChainError::Rpc(error)) if is_rate_limit(error.code, &error.message) && attempt == 1 => {
                        (failed(ChainError::Rpc(error)), pause)
                    }
                    Err(ChainError::Rpc(error)) => {
                        (Round::Refused(most_of(error.code, &error.message, calls.len())), pause)
                    }
                    _ => (none, pause),
                };
            }
            Err(ChainError::Malformed { .. }) => return (none, pause),
            // It may be about how often we ask: once more, and then less at a time.
            Err(ChainError::HttpStatus { status: 429, text, .. }) if attempt > 1 => {
                return (Round::Refused(most_of(429, &text, calls.len())), pause);
            }
            Err(ChainError::HttpStatus { status: status @ (400..=428 | 430..=499 | 500 | 501), text, .. }) => {
                return (Round::Refused(most_of(i64::from(status), &text, calls.len())), pause);
            }
            Err(error) => return (failed(error), pause),
        };
        let mut by_place: Vec<Option<Value>> = vec![None; calls.len()];
        for item in items {
            let place = id_of(&item).and_then(|id| id.checked_sub(first_id)).and_then(|at| usize::try_from(at).ok());
            match place.and_then(|at| by_place.get_mut(at)) {
                Some(slot) => *slot = Some(item),
                // An error without an id stands for all of them.
                None => {
                    if let Err(ChainError::Rpc(error)) = self.outcome(first, item) {
                        return (Round::Refused(most_of(error.code, &error.message, calls.len())), pause);
                    }
                }
            }
        }
        let mut answers = Vec::with_capacity(calls.len());
        for (item, call) in by_place.into_iter().zip(calls) {
            let Some(item) = item else { return (none, pause) };
            let answer = self.outcome(call, item);
            if let Err(ChainError::Rpc(error)) = &answer
                && is_about_batches(&error.message)
            {
                return (Round::Refused(most_of(error.code, &error.message, calls.len())), pause);
            }
            answers.push(answer);
        }
        (Round::Answers(answers), pause)
    }

    /// Calls of their own, a few at a time.
    async fn abreast(self: &Arc<Self>, calls: &[Call]) -> Answers {
        let mut answers = Vec::with_capacity(calls.len());
        for group in calls.chunks(ABREAST) {
            let mut running = JoinSet::new();
            for (place, call) in group.iter().cloned().enumerate() {
                let line = Arc::clone(self);
                running.spawn(async move { (place, line.patiently(&call).await) });
            }
            let mut done: Vec<Option<Result<Value, ChainError>>> = vec![None; group.len()];
            while let Some(finished) = running.join_next().await {
                if let Ok((place, answer)) = finished
                    && let Some(slot) = done.get_mut(place)
                {
                    *slot = Some(answer);
                }
            }
            answers.extend(done.into_iter().zip(group).map(|(answer, call)| {
                answer.unwrap_or_else(|| Err(self.malformed(call, "the answer", "one answer for each call")))
            }));
        }
        answers
    }
}

/// How many calls an endpoint takes in a batch that refused `refused` of them with this code and text; 1 is none.
fn most_of(code: i64, text: &str, refused: usize) -> usize {
    let words = text.to_ascii_lowercase();
    let too_many = matches!(code, 413 | 429)
        || is_rate_limit(code, text)
        || ["too many", "too large", "too big", "too long", "limit", "max", "exceed", "at most", "more than", "size"]
            .iter()
            .any(|word| words.contains(word));
    if !too_many {
        return 1;
    }
    let told = words.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<usize>().ok());
    let told = told.filter(|most| (2..refused).contains(most)).max();
    told.unwrap_or(if refused > SMALL_BATCH { SMALL_BATCH } else { 1 })
}

/// Words of an endpoint about batches - and not of a contract, whose revert reason can be anything.
fn is_about_batches(message: &str) -> bool {
    let text = message.to_ascii_lowercase();
    text.contains("batch") && !text.contains("revert")
}

/// The same failure, told of another call of the batch.
fn about(mut error: ChainError, call: &'static str) -> ChainError {
    match &mut error {
        ChainError::Unreachable { purpose, .. }
        | ChainError::Interrupted { purpose, .. }
        | ChainError::Timeout { purpose, .. }
        | ChainError::HttpStatus { purpose, .. } => *purpose = call,
        _ => {}
    }
    error
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            Http, Patience,
            tests::{echo, echoes, endpoint, hasty, reads},
        },
        *,
    };
    use crate::wallet::rpc::{
        stub_server::{Reply, StubServer, error, result},
        transport::Endpoint,
    };

    #[tokio::test]
    async fn many_calls_are_one_request_and_answers_may_come_in_any_order() {
        let server = StubServer::start(|_, body| {
            let items = body.as_array().unwrap();
            Reply::Json(items.iter().rev().map(echo).collect())
        });
        let answers = endpoint(&server).calls(&reads(5)).await;
        assert_eq!(echoes(&answers), [0, 1, 2, 3, 4]);
        assert_eq!(server.seen().len(), 1);
    }

    #[tokio::test]
    async fn an_endpoint_that_refuses_batches_is_asked_one_by_one_from_then_on() {
        type Refusal = fn(&Value) -> Reply;
        let refusals: [Refusal; 5] = [
            |_| Reply::Http(400, "batch not allowed".into()),
            |_| Reply::Json(json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": "no" } })),
            |body| Reply::Json(json!([echo(&body[0])])),
            |body| {
                let items = body.as_array().unwrap().iter();
                Reply::Json(items.map(|call| error(call, -32600, "batch requests are not supported")).collect())
            },
            |_| Reply::Json(json!("?")),
        ];
        for (i, refuse) in refusals.into_iter().enumerate() {
            let server = StubServer::start(move |_, body| match body {
                Value::Array(_) => refuse(body),
                call => Reply::Json(echo(call)),
            });
            let endpoint = endpoint(&server);
            assert_eq!(echoes(&endpoint.calls(&reads(8)).await), [0, 1, 2, 3, 4, 5, 6, 7], "refusal {i}");
            assert_eq!(server.seen().len(), 9, "refusal {i}");
            assert_eq!(echoes(&endpoint.calls(&reads(2)).await), [0, 1]);
            assert_eq!(server.seen().len(), 11, "refusal {i}");
        }
    }

    /// Refuses batches of more than `most` calls, and answers the rest.
    fn refusing_above(most: usize, refusal: impl Fn() -> Reply + Send + Sync + 'static) -> StubServer {
        StubServer::start(move |_, body| match body {
            Value::Array(calls) if calls.len() > most => refusal(),
            Value::Array(calls) => Reply::Json(calls.iter().map(echo).collect()),
            call => Reply::Json(echo(call)),
        })
    }

    #[tokio::test]
    async fn case_30_a_batch_that_is_refused_by_a_status_is_asked_in_smaller_ones_or_one_by_one() {
        for (status, text, most) in [
            (403, "batch requests are not part of your plan", 1),
            (404, "not found", 1),
            (402, "", 1),
            (429, "too many requests: each call of a batch counts, 10 at a time", 10),
            (413, "too large", 10),
            (400, "batch of more than 4 calls", 4),
        ] {
            let server = refusing_above(most, move || Reply::Http(status, text.into()));
            let endpoint = endpoint(&server);
            assert_eq!(echoes(&endpoint.calls(&reads(20)).await), (0..20).collect::<Vec<_>>(), "HTTP {status}");
            let before = server.seen().len();
            assert_eq!(echoes(&endpoint.calls(&reads(20)).await), (0..20).collect::<Vec<_>>(), "HTTP {status}");
            let requests = server.seen().len() - before;
            assert_eq!(requests, 20usize.div_ceil(most), "HTTP {status}: what was learned is kept");
        }
    }

    #[tokio::test]
    async fn a_batch_that_is_too_long_in_the_words_of_json_rpc_is_asked_in_smaller_ones() {
        for in_a_list in [false, true] {
            let refusal = move || {
                let error = json!({ "code": -32600, "message": "batch limit 10 exceeded" });
                let lone = json!({ "jsonrpc": "2.0", "id": null, "error": error });
                if in_a_list { json!([lone]) } else { lone }
            };
            let server = refusing_above(10, move || Reply::Json(refusal()));
            assert_eq!(echoes(&endpoint(&server).calls(&reads(20)).await), (0..20).collect::<Vec<_>>());
            assert_eq!(server.seen().len(), 3);
        }
    }

    #[tokio::test]
    async fn a_refusal_of_everything_is_not_taken_for_one_of_batches() {
        let server = StubServer::start(|n, body| match body {
            _ if n < 2 => Reply::Http(403, "unknown key".into()),
            Value::Array(calls) => Reply::Json(calls.iter().map(echo).collect()),
            call => Reply::Json(echo(call)),
        });
        let endpoint = endpoint(&server);
        let failed = endpoint.calls(&reads(5)).await;
        let refused = |a: &Result<Value, ChainError>| matches!(a, Err(ChainError::HttpStatus { status: 403, .. }));
        assert!(failed.iter().all(refused), "{failed:?}");
        assert_eq!(server.seen().len(), 2, "the batch, and one call alone");
        assert_eq!(echoes(&endpoint.calls(&reads(5)).await), [0, 1, 2, 3, 4]);
        assert_eq!(server.seen().len(), 3, "batches go on");
    }

    #[tokio::test]
    async fn that_an_endpoint_takes_no_batches_is_forgotten_after_a_while() {
        let server = StubServer::start(|n, body| match body {
            Value::Array(_) if n == 0 => Reply::Http(400, "no".into()),
            Value::Array(calls) => Reply::Json(calls.iter().map(echo).collect()),
            call => Reply::Json(echo(call)),
        });
        let patience = Patience { memory: Duration::from_millis(50), ..hasty() };
        let endpoint = Endpoint::new(Http::with_patience(&server.url, patience).unwrap());
        assert_eq!(echoes(&endpoint.calls(&reads(2)).await), [0, 1]);
        assert_eq!(server.seen().len(), 3);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(echoes(&endpoint.calls(&reads(2)).await), [0, 1]);
        assert_eq!(server.seen().len(), 4);
    }

    #[tokio::test]
    async fn whoever_can_ask_for_less_hears_that_no_batch_is_taken() {
        let server = refusing_above(1, || Reply::Http(405, "no".into()));
        let endpoint = endpoint(&server);
        assert_eq!(endpoint.together(&reads(5)).await, None);
        assert_eq!(endpoint.together(&reads(5)).await, None);
        assert_eq!(server.seen().len(), 1, "it is learned from one refusal");
        let server = refusing_above(5, || Reply::Http(405, "no".into()));
        assert_eq!(echoes(&self::endpoint(&server).together(&reads(5)).await.unwrap()), [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn a_batch_item_has_an_outcome_of_its_own_and_only_the_limited_ones_are_asked_again() {
        let server = StubServer::start(|n, body| {
            let answer = |call: &Value| match (n, call["params"][0].as_u64()) {
                (0, Some(1)) => error(call, -32005, "Too Many Requests, slow down"),
                (_, Some(2)) => error(call, 3, "execution reverted"),
                _ => echo(call),
            };
            Reply::Json(body.as_array().map_or_else(|| answer(body), |items| items.iter().map(answer).collect()))
        });
        let answers = endpoint(&server).calls(&reads(4)).await;
        assert_eq!(answers[1].as_ref().unwrap(), &json!(1));
        assert!(matches!(&answers[2], Err(ChainError::Rpc(error)) if error.code == 3));
        assert_eq!(answers[3].as_ref().unwrap(), &json!(3));
        assert_eq!(server.seen()[1].as_array().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn more_calls_than_a_batch_holds_are_several_batches_at_once() {
        let all_are_here = std::sync::Barrier::new(3);
        let server = StubServer::start(move |_, body| {
            all_are_here.wait();
            Reply::Json(body.as_array().unwrap().iter().map(echo).collect())
        });
        let patience = Patience { answer_bytes: 100_000, ..hasty() };
        let endpoint = Endpoint::new(Http::with_patience(&server.url, patience).unwrap());
        let answers = endpoint.calls(&reads(120)).await;
        assert_eq!(echoes(&answers), (0..120).collect::<Vec<_>>());
        assert_eq!(server.seen().len(), 3);
    }

    #[tokio::test]
    async fn a_batch_with_too_large_an_answer_is_asked_in_parts_and_batches_go_on() {
        let long = |call: &Value| result(call, json!("x".repeat(900)));
        let server = StubServer::start(move |n, body| match body {
            Value::Array(calls) if n == 0 => Reply::Json(calls.iter().map(long).collect()),
            Value::Array(calls) => Reply::Json(calls.iter().map(echo).collect()),
            call => Reply::Json(long(call)),
        });
        let endpoint = endpoint(&server);
        assert!(endpoint.calls(&reads(3)).await.iter().all(Result::is_ok));
        assert_eq!(server.seen().len(), 4);
        assert_eq!(echoes(&endpoint.calls(&reads(3)).await), [0, 1, 2]);
        assert_eq!(server.seen().len(), 5);
    }
}
