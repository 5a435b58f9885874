//! JSON-RPC over HTTP: deadlines, bounded answers, patience with busy endpoints, batches where they are taken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode, header, redirect};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use url::Url;

use super::transport::{Answering, Answers, Call, ChainError, SHOWN, Transport};
use crate::kernel::faults::printable;

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
        }
    }
}

/// Calls in one HTTP request. Public endpoints cut at 100 or below.
const BATCH: usize = 50;
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
    takes_batches: AtomicBool,
    next_id: AtomicU64,
}

impl Http {
    pub fn new(url: &str) -> Result<Self, ChainError> {
        Self::with_patience(url, Patience::default())
    }

    pub fn with_patience(url: &str, patience: Patience) -> Result<Self, ChainError> {
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
            .user_agent(concat!("keyleash/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| bad(origin.clone(), "the HTTP client could not be set up on this system"))?;
        Ok(Self(Arc::new(Line {
            client,
            secrets: secret_parts(&url),
            url,
            origin,
            patience,
            takes_batches: AtomicBool::new(true),
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
            for chunk in calls.chunks(BATCH) {
                if self.0.takes_batches.load(Ordering::Relaxed) {
                    answers.extend(self.0.batch(chunk).await);
                } else {
                    answers.extend(self.0.abreast(chunk).await);
                }
            }
            answers
        })
    }
}

impl Line {
    /// One batch. Calls that the endpoint does not answer as part of it are asked one by one.
    async fn batch(self: &Arc<Self>, calls: &[Call]) -> Answers {
        let started = Instant::now();
        let mut answers: Vec<Option<Result<Value, ChainError>>> = vec![None; calls.len()];
        for attempt in 1.. {
            let open: Vec<usize> = (0..calls.len()).filter(|i| answers.get(*i).is_some_and(Option::is_none)).collect();
            let asked: Vec<&Call> = open.iter().filter_map(|i| calls.get(*i)).collect();
            let (round, pause) = self.batch_once(&asked).await;
            let Some(round) = round else {
                self.takes_batches.store(false, Ordering::Relaxed);
                let left: Vec<Call> = asked.into_iter().cloned().collect();
                for (slot, answer) in open.into_iter().zip(self.abreast(&left).await) {
                    if let Some(place) = answers.get_mut(slot) {
                        *place = Some(answer);
                    }
                }
                break;
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
        answers.into_iter().zip(calls).map(|(answer, call)| answer.unwrap_or_else(|| Err(silent(call)))).collect()
    }

    /// One HTTP request with several calls; no answers at all when the endpoint does not take batches.
    async fn batch_once(&self, calls: &[&Call]) -> (Option<Answers>, Option<Duration>) {
        let Some(first) = calls.first() else { return (Some(Vec::new()), None) };
        let first_id = self.next_id.fetch_add(calls.len() as u64, Ordering::Relaxed);
        let body = calls.iter().zip(first_id..).map(|(call, id)| framed(call, id)).collect();
        let (answer, pause) = self.post(first.purpose, &Value::Array(body)).await;
        let items = match answer {
            Ok(Value::Array(items)) => items,
            // A lone object is how endpoints refuse a batch, or refuse us altogether: asked one by one, each call
            // gets its own reason.
            Ok(_) | Err(ChainError::Malformed { .. } | ChainError::TooLarge { .. }) => return (None, pause),
            Err(ChainError::HttpStatus { status, .. }) if refuses_batches(status) => return (None, pause),
            Err(error) => {
                return (Some(calls.iter().map(|call| Err(about(error.clone(), call.purpose))).collect()), pause);
            }
        };
        let mut by_place: Vec<Option<Value>> = vec![None; calls.len()];
        for item in items {
            let place = id_of(&item).and_then(|id| id.checked_sub(first_id)).and_then(|at| usize::try_from(at).ok());
            if let Some(slot) = place.and_then(|at| by_place.get_mut(at)) {
                *slot = Some(item);
            }
        }
        let mut answers = Vec::with_capacity(calls.len());
        for (item, call) in by_place.into_iter().zip(calls) {
            let Some(item) = item else { return (None, pause) };
            let answer = self.outcome(call, item);
            if let Err(ChainError::Rpc(error)) = &answer
                && error.message.to_ascii_lowercase().contains("batch")
            {
                return (None, pause);
            }
            answers.push(answer);
        }
        (Some(answers), pause)
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
                Ok(None) => break,
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
            let data = error.get("data").filter(|data| !data.is_null()).cloned();
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

/// Statuses that may be about the batch and not about us.
fn refuses_batches(status: u16) -> bool {
    matches!(status, 400 | 405 | 406 | 411 | 413 | 414 | 415 | 422 | 500 | 501)
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
