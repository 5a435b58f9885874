//! One JSON-RPC endpoint, whatever stands behind it: the calls, the seam, and the errors of every client here.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use alloy::primitives::Address;
use serde_json::Value;

use crate::{
    erc4337::faults::{Fault, printable},
    wallet::coin::TooDear,
};

/// How much of an outside text an error carries, in characters.
pub const SHOWN: usize = 300;

/// One JSON-RPC call.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: &'static str,
    /// The positional parameters: a JSON array.
    pub params: Value,
    /// What the call is for, in errors: `Kernel.getExecution` says more than `eth_call`.
    pub purpose: &'static str,
    /// Whether asking twice is the same as asking once. Only such calls are batched and repeated.
    pub idempotent: bool,
}

impl Call {
    /// A call that only reads: it may be batched, and repeated when the answer is lost.
    pub fn read(method: &'static str, params: Value) -> Self {
        Self { method, params, purpose: method, idempotent: true }
    }

    /// A call that has an effect (it sends, or uses up a sponsorship): sent once, never repeated behind the caller's back.
    pub fn once(method: &'static str, params: Value) -> Self {
        Self { method, params, purpose: method, idempotent: false }
    }

    pub fn named(mut self, purpose: &'static str) -> Self {
        self.purpose = purpose;
        self
    }
}

/// The answers to several calls: one for each, in their order.
pub type Answers = Vec<Result<Value, ChainError>>;
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answers> + Send + 'a>>;
pub type Together<'a> = Pin<Box<dyn Future<Output = Option<Answers>> + Send + 'a>>;

/// What carries calls to a chain and answers back: HTTP to a live endpoint, or a chain in this process.
pub trait Transport: Send + Sync {
    /// What errors call the endpoint: scheme, host and port, never path, query or user info.
    fn origin(&self) -> &str;

    /// Answers every call, in order. A failure that concerns all of them is given for each.
    fn request<'a>(&'a self, calls: &'a [Call]) -> Answering<'a>;

    /// The same in as few requests as batches make of it; `None` where the endpoint takes none, and each call would be a request.
    fn together<'a>(&'a self, calls: &'a [Call]) -> Together<'a> {
        Box::pin(async move { Some(self.request(calls).await) })
    }
}

/// An endpoint to talk to. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint(Arc<dyn Transport>);

impl Endpoint {
    pub fn new(transport: impl Transport + 'static) -> Self {
        Self(Arc::new(transport))
    }

    pub fn origin(&self) -> &str {
        self.0.origin()
    }

    pub async fn call(&self, call: Call) -> Result<Value, ChainError> {
        self.calls(&[call]).await.pop().unwrap_or_else(|| Err(self.silent("a call")))
    }

    /// Several calls in one round trip where the endpoint takes batches. Always as many answers as calls.
    pub async fn calls(&self, calls: &[Call]) -> Answers {
        if calls.is_empty() {
            return Vec::new();
        }
        let answers = self.0.request(calls).await;
        self.one_each(answers, calls)
    }

    /// Several reads in one round trip; `None` where the endpoint takes no batches: there it may be asked for less instead.
    pub async fn together(&self, calls: &[Call]) -> Option<Answers> {
        if calls.len() < 2 || !calls.iter().all(|call| call.idempotent) {
            return Some(self.calls(calls).await);
        }
        let answers = self.0.together(calls).await?;
        Some(self.one_each(answers, calls))
    }

    fn one_each(&self, mut answers: Answers, calls: &[Call]) -> Answers {
        answers.truncate(calls.len());
        let missing: Vec<_> = calls.iter().skip(answers.len()).map(|call| Err(self.silent(call.purpose))).collect();
        answers.extend(missing);
        answers
    }

    fn silent(&self, purpose: &'static str) -> ChainError {
        ChainError::malformed(self.origin(), purpose, "the answer", "one answer for each call")
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.origin()).finish()
    }
}

/// What an endpoint answered instead of a result. Text is bounded and safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    pub endpoint: String,
    pub purpose: &'static str,
    /// JSON-RPC or ERC-4337 code.
    pub code: i64,
    pub message: String,
    pub data: Option<Value>,
}

impl RpcError {
    /// What happened, in the protocol's terms, and what to do about it.
    pub fn fault(&self) -> Fault {
        Fault::from_answer(self.code, &self.message, self.data.as_ref())
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.fault();
        let advice = if is_rate_limit(self.code, &self.message) { http_advice(429) } else { fault.advice() };
        write!(f, "{} refused {}: {fault}. {advice}", self.endpoint, self.purpose)
    }
}

/// Why an endpoint could not be used or not be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("the endpoint address {origin} cannot be used: {reason}. Give an http:// or https:// URL")]
    BadUrl { origin: String, reason: &'static str },
    #[error(
        "https to {endpoint} is not possible: this system has no usable root certificates. Install them (Debian: ca-certificates)"
    )]
    NoCertificates { endpoint: String },
    #[error(
        "{endpoint} is to be reached through the proxy {proxy}, which {variable} of the environment names and which is not spoken: only http and https proxies are. Name one of those, or go without: unset {variable}, or put the host into NO_PROXY"
    )]
    ProxyNotSpoken { endpoint: String, variable: &'static str, proxy: String },
    #[error("{endpoint} cannot be reached for {purpose}: {reason}. Check the address and the connection")]
    Unreachable { endpoint: String, purpose: &'static str, reason: String },
    #[error(
        "the connection to {endpoint} broke during {purpose}: {reason}. Try again; if it was sending, look for it first"
    )]
    Interrupted { endpoint: String, purpose: &'static str, reason: String },
    #[error("{endpoint} did not answer {purpose} within {} s. Try again; if it was sending, look for it first", after.as_secs_f32())]
    Timeout { endpoint: String, purpose: &'static str, after: Duration },
    #[error("{endpoint} answered {purpose} with HTTP {status}{}. {}", quoted(text), http_advice(*status))]
    HttpStatus { endpoint: String, purpose: &'static str, status: u16, text: String },
    #[error("{0}")]
    Rpc(Box<RpcError>),
    #[error("{endpoint} answered {purpose} with more than {limit} bytes. Ask for less, or use another endpoint")]
    TooLarge { endpoint: String, purpose: &'static str, limit: usize },
    #[error(
        "{endpoint} answered {purpose} in a form that cannot be read: {field} should be {expected}. Use another endpoint"
    )]
    Malformed { endpoint: String, purpose: &'static str, field: String, expected: &'static str },
    #[error("{endpoint} is on chain {theirs}, but the network says {ours}. Correct the address or the chain id")]
    WrongChain { endpoint: String, ours: u64, theirs: u64 },
    #[error("{endpoint} does not serve EntryPoint {entry_point} (v0.6). Use a bundler that does")]
    EntryPointUnsupported { endpoint: String, entry_point: Address },
    #[error(
        "{endpoint} disagrees with us about {what}: it says {theirs}, we compute {ours}. Nothing it says about this can be trusted; use another endpoint"
    )]
    Mismatch { endpoint: String, what: &'static str, ours: String, theirs: String },
    /// `why` says what the ceiling is made of.
    #[error("{endpoint} proposes {what} {proposed}, above the ceiling of {ceiling}: {why}")]
    AboveCeiling { endpoint: String, what: &'static str, proposed: String, ceiling: String, why: &'static str },
    /// The whole would cost more than the person, or the cap of the chain, allows.
    #[error("{0}")]
    TooDear(Box<TooDear>),
}

impl ChainError {
    /// For scripts: what kind of trouble it is.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadUrl { .. } => "bad_url",
            Self::NoCertificates { .. } => "no_certificates",
            Self::ProxyNotSpoken { .. } => "proxy",
            Self::Unreachable { .. } => "unreachable",
            Self::Interrupted { .. } => "interrupted",
            Self::Timeout { .. } => "timeout",
            Self::HttpStatus { .. } => "http_status",
            Self::Rpc(_) => "refused",
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::WrongChain { .. } => "wrong_chain",
            Self::EntryPointUnsupported { .. } => "entry_point",
            Self::Mismatch { .. } => "mismatch",
            Self::AboveCeiling { .. } => "above_ceiling",
            Self::TooDear(_) => "too_dear",
        }
    }

    pub fn malformed(endpoint: &str, purpose: &'static str, field: impl Into<String>, expected: &'static str) -> Self {
        Self::Malformed { endpoint: endpoint.into(), purpose, field: field.into(), expected }
    }

    pub fn mismatch(endpoint: &str, what: &'static str, ours: impl fmt::Display, theirs: impl fmt::Display) -> Self {
        Self::Mismatch { endpoint: endpoint.into(), what, ours: ours.to_string(), theirs: theirs.to_string() }
    }

    /// An answer that is a JSON-RPC error; `message` is bounded and made safe here.
    pub fn rpc(endpoint: &str, purpose: &'static str, code: i64, message: &str, data: Option<Value>) -> Self {
        /// Revert data of a few kilobytes as hex stands in the message with some bundlers.
        const KEPT: usize = 8 * 1024;
        Self::Rpc(Box::new(RpcError {
            endpoint: endpoint.into(),
            purpose,
            code,
            message: printable(message, KEPT),
            data,
        }))
    }

    /// What a JSON-RPC error means; `None` when the endpoint did not answer with one.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Rpc(error) => Some(error.fault()),
            _ => None,
        }
    }

    /// Whether the endpoint may have acted on the call although no usable answer came back. After sending, look for the
    /// operation or transaction by its hash before sending another.
    pub fn leaves_doubt(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Interrupted { .. } | Self::TooLarge { .. } | Self::Malformed { .. } => true,
            Self::HttpStatus { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Whether the same question may be answered a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Interrupted { .. } | Self::Unreachable { .. } => true,
            Self::HttpStatus { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            Self::Rpc(error) => is_rate_limit(error.code, &error.message),
            _ => false,
        }
    }
}

/// Providers say "too many requests" in the answer as well as in the HTTP status; and that a day's or a month's are used up.
pub fn is_rate_limit(code: i64, message: &str) -> bool {
    let text = message.to_ascii_lowercase();
    // A contract's own words can be anything, these too.
    if code == 3 || text.contains("revert") {
        return false;
    }
    code == 429
        || [
            "too many requests",
            "rate limit",
            "rate-limit",
            "ratelimit",
            "request limit",
            "requests per second",
            "compute units per second",
            "request rate exceeded",
            "request count exceeded",
            "capacity limit exceeded",
            "throughput",
            "quota",
        ]
        .iter()
        .any(|words| text.contains(words))
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" (\"{text}\")") }
}

fn http_advice(status: u16) -> &'static str {
    match status {
        401 | 403 => "Check the key or project id in the address",
        404 => "Check the path of the address",
        429 => "It limits how often it can be asked: wait, or use another endpoint",
        300..=399 => "It wants to send us elsewhere, which is not followed: give the final address",
        500.. => "The endpoint has trouble of its own: try again later",
        _ => "Check the address",
    }
}
