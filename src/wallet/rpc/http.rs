//! JSON-RPC over HTTP: deadlines, bounded answers, patience with busy endpoints, batches where they are taken.

mod batches;
mod proxy;

use std::{
    env,
    sync::{
        Arc, Mutex as Lock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode, header, redirect};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;

use self::{
    batches::{BATCH, BATCHES_ABREAST, Batches},
    proxy::{Proxy, proxy_for},
};
use super::{
    address::{is_this_machine, redacted, secret_parts},
    transport::{Answering, Call, ChainError, SHOWN, Together, Transport},
};
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
        let client = if is_this_machine(&url) { client.no_proxy() } else { client };
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
        transport::{Answers, Endpoint},
    };

    /// Quick to try again, but not upset by a slow machine.
    pub(super) fn hasty() -> Patience {
        Patience {
            answer: Duration::from_secs(10),
            pause: Duration::from_millis(5),
            pause_limit: Duration::from_millis(20),
            answer_bytes: 2000,
            ..Patience::default()
        }
    }

    /// For servers that say nothing.
    pub(super) fn impatient(server: &StubServer) -> Endpoint {
        let patience = Patience { answer: Duration::from_millis(200), ..hasty() };
        Endpoint::new(Http::with_patience(&server.url, patience).unwrap())
    }

    pub(super) fn endpoint(server: &StubServer) -> Endpoint {
        Endpoint::new(Http::with_patience(&server.url, hasty()).unwrap())
    }

    pub(super) fn reads(count: usize) -> Vec<Call> {
        (0..count).map(|i| Call::read("eth_call", json!([i]))).collect()
    }

    /// Answers each call with its own first parameter.
    pub(super) fn echo(call: &Value) -> Value {
        result(call, call["params"][0].clone())
    }

    pub(super) fn echoes(answers: &Answers) -> Vec<u64> {
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
