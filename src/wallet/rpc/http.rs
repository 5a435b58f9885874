//! JSON-RPC over HTTP: deadlines, bounded answers, patience with busy endpoints, batches where they are taken.

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Arc, Mutex as Lock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode, header, redirect};
use serde_json::{Value, json};
use tokio::{sync::Mutex, task::JoinSet};
use url::{Host, Url};

use super::transport::{Answering, Answers, Call, ChainError, SHOWN, Together, Transport, is_rate_limit};
use crate::erc4337::faults::printable;

/// How patient the client is, and how much it takes.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until the connection stands.
    pub connect: Duration,
    /// From sending to the last byte of the answer.
    pub answer: Duration,
    /// How often a read is asked at most, the first time included.
    pub attempts: u32,
    /// Before the second attempt; doubles each time. A `Retry-After` of the endpoint is followed up to `pause_limit`.
    pub pause: Duration,
    pub pause_limit: Duration,
    /// No further attempt is begun after this much time in all.
    pub all: Duration,
    /// Bytes of one answer.
    pub answer_bytes: usize,
    /// How long it is remembered that an endpoint takes no batches, or only small ones: it may be another machine by then.
    pub memory: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(20),
            attempts: 4,
            pause: Duration::from_millis(300),
            pause_limit: Duration::from_secs(3),
            all: Duration::from_secs(30),
            answer_bytes: 8 * 1024 * 1024,
            memory: Duration::from_secs(120),
        }
    }
}

/// Calls in one HTTP request. Public endpoints cut at 100 or below.
const BATCH: usize = 50;
/// The same for an endpoint that found a batch too long without saying what it takes.
const SMALL_BATCH: usize = 10;
/// Batches at a time: a picture of an account with 500 keys is one round trip.
const BATCHES_ABREAST: usize = 32;
/// HTTP requests at a time when the endpoint does not take batches.
const ABREAST: usize = 6;

/// A live endpoint.
pub struct Http(Arc<Line>);

struct Line {
    client: Client,
    url: Url,
    /// Scheme, host and port: all that is shown.
    origin: String,
    /// Parts of the URL that may be a key and must not come back in an answer's text.
    secrets: Vec<String>,
    patience: Patience,
    /// What the environment says about the way to this endpoint.
    proxy: Option<Proxy>,
    batches: Lock<Batches>,
    /// Held while calls of a refused batch are asked on their own: several refused batches take turns.
    one_by_one: Mutex<()>,
    next_id: AtomicU64,
}

/// What is known about the batches that an endpoint takes.
#[derive(Debug, Clone, Copy)]
struct Batches {
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

/// A proxy that the environment names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Proxy {
    variable: &'static str,
    /// Scheme, host and port: there may be a password beside them.
    shown: String,
    spoken: bool,
}

/// What came of one batch.
enum Round {
    Answers(Answers),
    /// The endpoint takes batches of this many calls, or of none but 1.
    Refused(usize),
}

impl Http {
    pub fn new(url: &str) -> Result<Self, ChainError> {
        Self::with_patience(url, Patience::default())
    }

    pub fn with_patience(url: &str, patience: Patience) -> Result<Self, ChainError> {
        Self::in_environment(url, patience, |name| env::var(name).ok())
    }

    fn in_environment(
        url: &str,
        patience: Patience,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ChainError> {
        // The text itself is not shown: it may hold a key, and it may not be a URL at all.
        let bad = |origin: String, reason| ChainError::BadUrl { origin, reason };
        let url = Url::parse(url.trim()).map_err(|_| bad("(not a URL)".into(), "it is not a URL"))?;
        let origin = redacted(&url);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(origin, "only http and https are spoken"));
        }
        let client = Client::builder()
            .connect_timeout(patience.connect)
            .timeout(patience.answer)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("keyleash/", env!("CARGO_PKG_VERSION")));
        // Loading the system's root certificates takes time, and fails on a system without any: only where needed.
        let client = if url.scheme() == "http" { client.tls_certs_only([]) } else { client };
        // A proxy of the environment is for the world outside, not for a node on this machine.
        let client = if is_loopback(&url) { client.no_proxy() } else { client };
        let client = client.build().map_err(|_| ChainError::NoCertificates { endpoint: origin.clone() })?;
        Ok(Self(Arc::new(Line {
            client,
            secrets: secret_parts(&url),
            proxy: proxy_for(&url, variable),
            url,
            origin,
            patience,
            batches: Lock::default(),
            one_by_one: Mutex::new(()),
            next_id: AtomicU64::new(1),
        })))
    }
}

impl Transport for Http {
    fn origin(&self) -> &str {
        &self.0.origin
    }

    fn request<'a>(&'a self, calls: &'a [Call]) -> Answering<'a> {
        Box::pin(async move {
            let batched = calls.len() > 1 && calls.iter().all(|call| call.idempotent);
            let mut answers = Vec::with_capacity(calls.len());
            if !batched {
                for call in calls {
                    answers.push(self.0.patiently(call).await);
                }
                return answers;
            }
            for chunk in calls.chunks(BATCHES_ABREAST * BATCH) {
                answers.extend(self.0.in_parts(chunk).await);
            }
            answers
        })
    }

    fn together<'a>(&'a self, calls: &'a [Call]) -> Together<'a> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(calls.len());
            for chunk in calls.chunks(BATCHES_ABREAST * BATCH) {
                match self.0.batches(chunk, false).await {
                    Some(more) => answers.extend(more),
                    None => return None,
                }
            }
            Some(answers)
        })
    }
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
    fn nothing_learned(&self) {
        *self.batches.lock().unwrap_or_else(PoisonError::into_inner) = Batches::default();
    }

    /// In batches where they are taken, else one by one.
    async fn in_parts(self: &Arc<Self>, calls: &[Call]) -> Answers {
        match self.batches(calls, true).await {
            Some(answers) => answers,
            None => self.abreast(calls).await,
        }
    }

    /// Several batches at a time. `None` where batches are not taken - with `alone`, what such an endpoint left open is asked one
    /// by one instead.
    async fn batches(self: &Arc<Self>, calls: &[Call], alone: bool) -> Option<Answers> {
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

    /// One call, repeated while the endpoint is busy - if repeating it is harmless.
    async fn patiently(&self, call: &Call) -> Result<Value, ChainError> {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let (answer, pause) = self.post(call.purpose, &framed(call, id)).await;
            let answer = answer.and_then(|item| match (id_of(&item), item.get("error")) {
                // Some endpoints answer an error with id null.
                (answered, error) if answered == Some(id) || error.is_some_and(|e| !e.is_null()) => {
                    self.outcome(call, item)
                }
                _ => Err(self.malformed(call, "id", "the id of the call")),
            });
            if matches!(answer, Err(ChainError::HttpStatus { status: 400..=428 | 430..=499, .. })) {
                self.nothing_learned();
            }
            let passing = answer.as_ref().is_err_and(ChainError::is_passing);
            match self.pause_before_next(attempt, started, pause) {
                Some(pause) if passing && call.idempotent => tokio::time::sleep(pause).await,
                _ => return answer,
            }
            attempt += 1;
        }
    }

    /// How long to wait before the next attempt; `None` when there is none.
    fn pause_before_next(&self, attempt: u32, started: Instant, asked: Option<Duration>) -> Option<Duration> {
        let patience = &self.patience;
        let ours = patience.pause.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)));
        let pause = asked.unwrap_or(ours).max(ours).min(patience.pause_limit);
        (attempt < patience.attempts && started.elapsed() + pause < patience.all).then_some(pause)
    }

    /// Sends a body and reads the JSON that comes back, and how long the endpoint asks to be left alone.
    async fn post(&self, purpose: &'static str, body: &Value) -> (Result<Value, ChainError>, Option<Duration>) {
        if let Some(Proxy { variable, shown, spoken: false }) = &self.proxy {
            // Going past it would show this machine's address to whom it is to be hidden from.
            let endpoint = self.origin.clone();
            return (Err(ChainError::ProxyNotSpoken { endpoint, variable, proxy: shown.clone() }), None);
        }
        let request =
            self.client.post(self.url.clone()).header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return (Err(self.failed(purpose, &error)), None),
        };
        let status = response.status();
        let pause = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > self.patience.answer_bytes => {
                    let limit = self.patience.answer_bytes;
                    return (Err(ChainError::TooLarge { endpoint: self.origin.clone(), purpose, limit }), pause);
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => {
                    // The connection comes back on a task of its own; asked again at once, the client would make another.
                    tokio::task::yield_now().await;
                    break;
                }
                Err(error) => return (Err(self.failed(purpose, &error)), pause),
            }
        }
        (self.parsed(purpose, status, &bytes), pause)
    }

    fn parsed(&self, purpose: &'static str, status: StatusCode, bytes: &[u8]) -> Result<Value, ChainError> {
        let json: Option<Value> = serde_json::from_slice(bytes).ok();
        if status.is_success() {
            return json.ok_or_else(|| ChainError::malformed(&self.origin, purpose, "the body", "JSON"));
        }
        // Several bundlers put a proper JSON-RPC error into an HTTP 400 or 500; it says more than the status.
        match json {
            Some(answer) if is_framed_error(&answer) && !matches!(status.as_u16(), 429 | 502 | 503 | 504) => Ok(answer),
            _ => Err(ChainError::HttpStatus {
                endpoint: self.origin.clone(),
                purpose,
                status: status.as_u16(),
                text: self.safe(&String::from_utf8_lossy(bytes.get(..SHOWN * 4).unwrap_or(bytes)), SHOWN),
            }),
        }
    }

    /// The result of one framed answer.
    fn outcome(&self, call: &Call, mut item: Value) -> Result<Value, ChainError> {
        if let Some(error) = item.get_mut("error").map(Value::take).filter(|error| !error.is_null()) {
            let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
            let message =
                error.get("message").or(error.as_str().map(|_| &error)).and_then(Value::as_str).unwrap_or_default();
            let data = error.get("data").filter(|data| !data.is_null()).map(|data| self.data_without_secrets(data));
            return Err(ChainError::rpc(&self.origin, call.purpose, code, &self.without_secrets(message), data));
        }
        match item.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(self.malformed(call, "the answer", "a result or an error")),
        }
    }

    fn malformed(&self, call: &Call, field: &str, expected: &'static str) -> ChainError {
        ChainError::malformed(&self.origin, call.purpose, field, expected)
    }

    /// What went wrong below HTTP. The error's own text holds the URL, so only its root cause is shown.
    fn failed(&self, purpose: &'static str, error: &reqwest::Error) -> ChainError {
        let endpoint = self.origin.clone();
        let reason = self.safe(&root_cause(error), SHOWN);
        if error.is_connect() {
            let reason = match &self.proxy {
                Some(Proxy { variable, shown, .. }) => format!("through the proxy {shown} ({variable}): {reason}"),
                None => reason,
            };
            ChainError::Unreachable { endpoint, purpose, reason }
        } else if error.is_timeout() {
            ChainError::Timeout { endpoint, purpose, after: self.patience.answer }
        } else {
            ChainError::Interrupted { endpoint, purpose, reason }
        }
    }

    fn safe(&self, text: &str, max: usize) -> String {
        printable(&self.without_secrets(text), max)
    }

    fn data_without_secrets(&self, data: &Value) -> Value {
        let text = data.to_string();
        let clean = self.without_secrets(&text);
        if clean == text { data.clone() } else { Value::String(clean) }
    }

    fn without_secrets(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"))
    }
}

fn framed(call: &Call, id: u64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": call.method, "params": call.params })
}

/// Ids come back as numbers, or as text from a few proxies.
fn id_of(item: &Value) -> Option<u64> {
    let id = item.get("id")?;
    id.as_u64().or_else(|| id.as_str()?.parse().ok())
}

fn is_framed_error(answer: &Value) -> bool {
    match answer {
        Value::Array(items) => items.iter().any(is_framed_error),
        other => other.get("error").is_some_and(Value::is_object),
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

/// The proxy that the environment names for a URL, as the HTTP client reads it: the scheme's own variable before `ALL_PROXY`,
/// and none for this machine or what `NO_PROXY` leaves out.
fn proxy_for(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Option<Proxy> {
    let own = if url.scheme() == "https" { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let set = |name: &'static str| {
        variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).map(|value| (name, value))
    };
    let (name, value) = own.into_iter().chain(["ALL_PROXY", "all_proxy"]).find_map(set)?;
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let left_out = ["NO_PROXY", "no_proxy"].into_iter().find_map(set).is_some_and(|(_, list)| {
        list.split(',').map(|entry| entry.trim().trim_start_matches('.').to_ascii_lowercase()).any(|entry| {
            entry == "*" || host == entry || host.strip_suffix(&entry).is_some_and(|start| start.ends_with('.'))
        })
    });
    if left_out || is_loopback(url) {
        return None;
    }
    let with_scheme = if value.contains("://") { value } else { format!("http://{value}") };
    // What cannot be read may hold a password, and is not shown.
    let Ok(proxy) = Url::parse(&with_scheme) else {
        return Some(Proxy { variable: name, shown: "(not a URL)".to_owned(), spoken: false });
    };
    Some(Proxy { variable: name, shown: redacted(&proxy), spoken: matches!(proxy.scheme(), "http" | "https") })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Scheme, host and port of a URL: what may be shown of it.
pub fn redacted(url: &Url) -> String {
    let host = url.host_str().unwrap_or("(no host)");
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// Parts of the URL long enough to be a key: short ones are words like `v2` or `rpc`.
fn secret_parts(url: &Url) -> Vec<String> {
    const KEY_LENGTH: usize = 8;
    let path = url.path_segments().into_iter().flatten().map(str::to_owned);
    let query = url.query_pairs().map(|(_, value)| value.into_owned());
    let user = [Some(url.username()), url.password(), url.query()].into_iter().flatten().map(str::to_owned);
    let mut parts: Vec<String> =
        path.chain(query).chain(user).filter(|part| part.chars().count() >= KEY_LENGTH).collect();
    // The longest first, so that no part of one is left over by another.
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts.insert(0, url.as_str().to_owned());
    parts
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    // An error without a cause below is reqwest's own, whose text names the URL.
    if std::ptr::eq(cause, error) { "the request failed".into() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::rpc::{
        stub_server::{Reply, StubServer, error, result},
        transport::Endpoint,
    };

    /// Quick to try again, but not upset by a slow machine.
    fn hasty() -> Patience {
        Patience {
            answer: Duration::from_secs(10),
            pause: Duration::from_millis(5),
            pause_limit: Duration::from_millis(20),
            answer_bytes: 2000,
            ..Patience::default()
        }
    }

    /// For servers that say nothing.
    fn impatient(server: &StubServer) -> Endpoint {
        let patience = Patience { answer: Duration::from_millis(200), ..hasty() };
        Endpoint::new(Http::with_patience(&server.url, patience).unwrap())
    }

    fn endpoint(server: &StubServer) -> Endpoint {
        Endpoint::new(Http::with_patience(&server.url, hasty()).unwrap())
    }

    fn reads(count: usize) -> Vec<Call> {
        (0..count).map(|i| Call::read("eth_call", json!([i]))).collect()
    }

    /// Answers each call with its own first parameter.
    fn echo(call: &Value) -> Value {
        result(call, call["params"][0].clone())
    }

    fn echoes(answers: &Answers) -> Vec<u64> {
        answers.iter().map(|answer| answer.as_ref().unwrap().as_u64().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_busy_endpoint_is_asked_again() {
        for status in [429, 502, 503] {
            let server = StubServer::start(move |n, call| match n {
                0 | 1 => Reply::Http(status, "busy".into()),
                _ => Reply::Json(echo(call)),
            });
            let answer = endpoint(&server).call(Call::read("eth_call", json!([7]))).await;
            assert_eq!(answer.unwrap(), json!(7));
            assert_eq!(server.seen().len(), 3, "HTTP {status}");
        }
    }

    #[tokio::test]
    async fn patience_ends() {
        let server = StubServer::start(|_, _| Reply::Http(503, "busy".into()));
        let failed = endpoint(&server).call(Call::read("eth_call", json!([]))).await.unwrap_err();
        assert!(matches!(failed, ChainError::HttpStatus { status: 503, .. }), "{failed}");
        assert_eq!(server.seen().len(), 4);
    }

    #[tokio::test]
    async fn a_call_with_an_effect_is_made_once_whatever_happens() {
        let send = || Call::once("eth_sendUserOperation", json!([]));
        let server = StubServer::start(|_, _| Reply::Http(503, "busy".into()));
        let failed = endpoint(&server).call(send()).await.unwrap_err();
        assert!(failed.leaves_doubt());
        assert_eq!(server.seen().len(), 1);

        let server = StubServer::start(|_, _| Reply::Silence(Duration::from_secs(2)));
        let failed = impatient(&server).call(send()).await.unwrap_err();
        assert!(matches!(failed, ChainError::Timeout { .. }), "{failed}");
        assert!(failed.leaves_doubt());
        assert_eq!(server.seen().len(), 1);

        // Not even as part of a batch.
        let server = StubServer::start(|_, call| Reply::Json(echo(call)));
        let both = [Call::read("eth_call", json!([1])), Call::once("eth_sendUserOperation", json!([2]))];
        assert_eq!(echoes(&endpoint(&server).calls(&both).await), [1, 2]);
        assert_eq!(server.seen().len(), 2);
    }

    #[tokio::test]
    async fn silence_is_a_timeout_and_a_read_is_repeated() {
        let server = StubServer::start(|n, call| match n {
            0 => Reply::Silence(Duration::from_secs(2)),
            _ => Reply::Json(echo(call)),
        });
        assert_eq!(impatient(&server).call(Call::read("eth_call", json!([1]))).await.unwrap(), json!(1));
    }

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
    async fn case_20_a_proxy_that_is_not_spoken_is_named_and_never_gone_past() {
        let server = StubServer::start(|_, call| Reply::Json(echo(call)));
        let through = |url: &str, variables: &'static [(&'static str, &'static str)]| {
            let find = |name: &str| variables.iter().find(|(v, _)| *v == name).map(|(_, value)| (*value).to_owned());
            Endpoint::new(Http::in_environment(url, hasty(), find).unwrap())
        };
        let call = || Call::read("eth_call", json!([1]));
        let socks: &[_] = &[("ALL_PROXY", "socks5h://user:pass-word@127.0.0.1:9")];
        let failed = through("http://node.example.invalid:8545", socks).call(call()).await.unwrap_err();
        let told = failed.to_string();
        assert_eq!(failed.code(), "proxy");
        assert!(
            told.contains("socks5h://127.0.0.1:9") && told.contains("ALL_PROXY") && told.contains("NO_PROXY"),
            "{told}"
        );
        assert!(!told.contains("pass-word"), "{told}");
        // This machine is never behind a proxy.
        assert_eq!(through(&server.url, socks).call(call()).await.unwrap(), json!(1));
    }

    #[test]
    fn case_20_the_proxy_of_a_url_is_the_environments() {
        let proxy = |url: &str, variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(v, _)| *v == name).map(|(_, value)| (*value).to_owned());
            proxy_for(&Url::parse(url).unwrap(), find).map(|p| (p.variable, p.shown, p.spoken))
        };
        let all = ("ALL_PROXY", "socks5://h:1080");
        let of = |variable, shown: &str, spoken| Some((variable, shown.to_owned(), spoken));
        assert_eq!(proxy("https://node.example", &[]), None);
        assert_eq!(proxy("https://node.example", &[all]), of("ALL_PROXY", "socks5://h:1080", false));
        let own = ("https_proxy", "user:secret@h:3128");
        assert_eq!(proxy("https://node.example", &[all, own]), of("https_proxy", "http://h:3128", true));
        assert_eq!(proxy("http://node.example", &[all, own]), of("ALL_PROXY", "socks5://h:1080", false));
        assert_eq!(proxy("http://127.0.0.1:8545", &[all]), None);
        for list in ["*", "example", ".example", "other, node.example"] {
            assert_eq!(proxy("https://node.example", &[all, ("NO_PROXY", list)]), None, "{list}");
        }
        assert!(proxy("https://node.example", &[all, ("NO_PROXY", "ample, ode.example")]).is_some());
        let nonsense = proxy("https://node.example", &[("ALL_PROXY", "nonsense://x")]);
        assert_eq!(nonsense, of("ALL_PROXY", "nonsense://x", false), "what is not understood is not gone past");
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

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_dropped_early() {
        let server = StubServer::start(|_, call| Reply::Json(result(call, json!("x".repeat(3000)))));
        let failed = endpoint(&server).call(Call::read("eth_call", json!([]))).await.unwrap_err();
        assert!(matches!(failed, ChainError::TooLarge { limit: 2000, .. }), "{failed}");
    }

    #[tokio::test]
    async fn answers_that_are_no_json_rpc_are_malformed() {
        for body in ["", "<html>", "[]", "7", "{}", r#"{"id":1}"#, r#"{"id":999999,"result":1}"#, r#"{"result":1}"#] {
            let server = StubServer::start(|_, _| Reply::Http(200, body.into()));
            let failed = endpoint(&server).call(Call::read("eth_call", json!([]))).await.unwrap_err();
            assert!(matches!(failed, ChainError::Malformed { .. }), "{body}: {failed}");
        }
    }

    #[tokio::test]
    async fn an_error_inside_an_http_error_is_the_error() {
        for status in [400, 500] {
            let server = StubServer::start(move |_, call| {
                Reply::Http(status, error(call, -32500, "AA25 invalid account nonce").to_string())
            });
            let failed = endpoint(&server).call(Call::once("eth_sendUserOperation", json!([]))).await.unwrap_err();
            assert_eq!(failed.fault(), Some(crate::erc4337::faults::Fault::NonceUsed), "{failed}");
            assert!(!failed.leaves_doubt());
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let server = StubServer::start(|_, _| Reply::Http(307, String::new()));
        let failed = endpoint(&server).call(Call::read("eth_call", json!([]))).await.unwrap_err();
        assert!(matches!(failed, ChainError::HttpStatus { status: 307, .. }), "{failed}");
    }

    #[tokio::test]
    async fn no_error_shows_the_key_in_the_address() {
        const SECRETS: [&str; 5] = ["s3cr3t-path-key", "s3cr3t-query", "user-name", "s3cr3t-word", "apikey="];
        let with_key = |origin: &str| {
            let host = origin.trim_start_matches("http://");
            format!("http://user-name:s3cr3t-word@{host}/v2/s3cr3t-path-key/rpc?apikey=s3cr3t-query-1234")
        };
        let says = |text: &'static str| {
            move |_, call: &Value| match text {
                "401" => Reply::Http(401, "no project s3cr3t-path-key (s3cr3t-query-1234)".into()),
                "error" => {
                    let mut answer = error(call, -32000, "unknown key s3cr3t-path-key");
                    answer["error"]["data"] = json!({ "url": "/v2/s3cr3t-path-key" });
                    Reply::Json(answer)
                }
                "silence" => Reply::Silence(Duration::from_secs(2)),
                "junk" => Reply::Http(200, "s3cr3t-path-key".into()),
                _ => Reply::Http(302, String::new()),
            }
        };
        let mut told = Vec::new();
        for text in ["401", "error", "silence", "junk", "elsewhere"] {
            let server = StubServer::start(says(text));
            let answer = if text == "silence" { Duration::from_millis(200) } else { hasty().answer };
            let patience = Patience { answer, ..hasty() };
            let endpoint = Endpoint::new(Http::with_patience(&with_key(&server.url), patience).unwrap());
            let failed = endpoint.call(Call::once("eth_sendUserOperation", json!([]))).await.unwrap_err();
            assert!(failed.to_string().contains(&server.url), "{failed}");
            told.push(format!("{failed} {failed:?} {endpoint:?}"));
        }
        // Port 1 is closed; the name does not exist.
        for origin in ["http://127.0.0.1:1", "http://nowhere.invalid"] {
            let endpoint = Endpoint::new(Http::with_patience(&with_key(origin), hasty()).unwrap());
            let failed = endpoint.call(Call::once("eth_sendUserOperation", json!([]))).await.unwrap_err();
            assert!(!failed.leaves_doubt() || matches!(failed, ChainError::Timeout { .. }), "{failed:?}");
            told.push(format!("{failed} {failed:?}"));
        }
        for url in ["ftp://user-name:s3cr3t-word@h/s3cr3t-path-key", "s3cr3t-path-key", "http://s3cr3t-word@/"] {
            let failed = Http::new(url).err().unwrap();
            told.push(format!("{failed} {failed:?}"));
        }
        for text in told {
            assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{text}");
        }
    }

    #[tokio::test]
    async fn text_from_outside_is_short_and_without_tricks() {
        let server = StubServer::start(|_, _| Reply::Http(404, format!("\u{1b}[2Jno\u{202e}t{}", "!".repeat(1000))));
        let failed = endpoint(&server).call(Call::read("eth_call", json!([]))).await.unwrap_err().to_string();
        assert!(failed.contains("[2Jnot!") && failed.len() < 600, "{failed}");
    }
}
