//! Logs: queries of a length that the endpoint takes, which is learned from how it refuses.

use std::sync::{MutexGuard, PoisonError};

use alloy::primitives::B256;
use serde_json::{Value, json};

use super::{At, Node};
use crate::{
    erc4337::faults::Fault,
    protocol::query::{Log, LogQuery},
    wallet::rpc::{
        answer::Answer,
        transport::{Call, ChainError, is_rate_limit},
    },
};

/// Most logs taken from one answer.
const LOGS: usize = 50_000;
/// Blocks in the first log query; fewer whenever an endpoint finds a range too long.
const LOG_SPAN: u64 = 10_000;
/// Blocks in the query that tells whether an error in unknown words is about the length.
const SHORT_SPAN: u64 = 10;
/// Log queries of a length that must go well before a longer one is tried; doubles each time that one fails.
const CAREFUL: u32 = 2;
const MOST_CAREFUL: u32 = 64;
impl Log {
    pub(in crate::wallet) fn read(answer: &Answer<'_>) -> Result<Self, ChainError> {
        Ok(Self {
            address: answer.field("address")?.address()?,
            topics: answer.field("topics")?.list(4)?.iter().map(Answer::hash).collect::<Result<_, _>>()?,
            data: answer.field("data")?.bytes()?,
            block_number: answer.field("blockNumber")?.u64()?,
            transaction_hash: answer.field("transactionHash")?.hash()?,
            log_index: answer.field("logIndex")?.u64()?,
        })
    }

    pub fn read_list(answer: &Answer<'_>) -> Result<Vec<Self>, ChainError> {
        answer.list(LOGS)?.iter().map(Self::read).collect()
    }
}

impl LogQuery {
    #[allow(clippy::indexing_slicing, reason = "an object that is made here")]
    fn json(&self, from: u64, to: u64) -> Value {
        let topic = |wanted: &Vec<B256>| match wanted.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        };
        let topics: Vec<Value> = self.topics.iter().map(topic).collect();
        let mut query = json!({ "fromBlock": At::Block(from).tag(), "toBlock": At::Block(to).tag(), "topics": topics });
        if let Some(address) = self.address {
            query["address"] = json!(address);
        }
        query
    }

    fn wants(&self, log: &Log, from: u64, to: u64) -> bool {
        let topics_fit = self
            .topics
            .iter()
            .enumerate()
            .all(|(i, wanted)| wanted.is_empty() || log.topics.get(i).is_some_and(|topic| wanted.contains(topic)));
        topics_fit
            && (from..=to).contains(&log.block_number)
            && self.address.is_none_or(|address| address == log.address)
    }
}

/// The logs of a stretch of blocks, and where the stretch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    pub logs: Vec<Log>,
    /// The last block covered: the next chunk begins after it.
    pub through: u64,
}

/// What is learned about the length of log queries, and unlearned again: a crowded stretch says nothing about the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    blocks: u64,
    /// Queries of this length that went well.
    good: u32,
    /// How many must, before a longer one is tried.
    careful: u32,
    /// This length is a try.
    grown: bool,
}

impl Default for Span {
    fn default() -> Self {
        Self { blocks: LOG_SPAN, good: 0, careful: CAREFUL, grown: false }
    }
}

impl Span {
    fn shrink(&mut self, blocks: u64) {
        if self.grown {
            self.careful = self.careful.saturating_mul(2).min(MOST_CAREFUL);
        }
        *self = Self { blocks: blocks.max(1), good: 0, careful: self.careful, grown: false };
    }

    fn went_well(&mut self, asked: u64) {
        if asked < self.blocks || self.blocks >= LOG_SPAN {
            return;
        }
        if self.grown {
            self.careful = (self.careful / 2).max(CAREFUL);
        }
        self.grown = false;
        self.good += 1;
        if self.good >= self.careful {
            self.blocks = self.blocks.saturating_mul(2).min(LOG_SPAN);
            self.good = 0;
            self.grown = true;
        }
    }
}

impl Node {
    /// The logs from block `from` on that fit any of the queries, in their order on chain, as far towards `to` as the node
    /// answers at once. Ask again from `through + 1`.
    pub async fn logs(&self, queries: &[LogQuery], from: u64, to: u64) -> Result<LogChunk, ChainError> {
        if from > to {
            return Ok(LogChunk { logs: Vec::new(), through: to });
        }
        let whole = *self.span();
        let mut told_once = false;
        let mut unexplained = 0;
        loop {
            let span = self.span().blocks.max(1);
            let through = to.min(from.saturating_add(span - 1));
            let asked = through - from + 1;
            let error = match self.logs_at_once(queries, from, through).await {
                Ok(logs) => {
                    self.span().went_well(asked);
                    return Ok(LogChunk { logs, through });
                }
                Err(error) => error,
            };
            let half = asked.div_ceil(2);
            // Endpoints limit blocks, logs or bytes, each in its own words.
            match about_length(&error, from, asked) {
                _ if asked < 2 => return Err(error),
                Length::Told(blocks) if !told_once => {
                    told_once = true;
                    self.span().shrink(blocks);
                }
                Length::Told(_) | Length::TooLong => self.span().shrink(half),
                // Words that say nothing known: whether a shorter query goes well is what tells. If none does, nothing was learned.
                Length::Unknown if unexplained < 2 => {
                    unexplained += 1;
                    self.span().shrink(if unexplained == 1 { half } else { half.min(SHORT_SPAN) });
                }
                Length::Unknown | Length::NotIt => {
                    *self.span() = whole;
                    return Err(error);
                }
            }
        }
    }

    fn span(&self) -> MutexGuard<'_, Span> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn logs_at_once(&self, queries: &[LogQuery], from: u64, through: u64) -> Result<Vec<Log>, ChainError> {
        let calls: Vec<_> = queries.iter().map(|q| Call::read("eth_getLogs", json!([q.json(from, through)]))).collect();
        let mut logs = Vec::new();
        for (query, found) in queries.iter().zip(self.all(&calls, read_logs).await?) {
            if found.iter().any(|log| !query.wants(log, from, through)) {
                let what = "which logs were asked for";
                return Err(ChainError::mismatch(self.endpoint.origin(), what, "only those", "others too"));
            }
            logs.extend(found);
        }
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        logs.dedup();
        Ok(logs)
    }
}

/// Logs; null where there are none, with several nodes.
fn read_logs(answer: &Answer<'_>) -> Result<Vec<Log>, ChainError> {
    if answer.value().is_null() { Ok(Vec::new()) } else { Log::read_list(answer) }
}

/// What a failed log query says about its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// It is about something else: asking for less does not help.
    NotIt,
    /// Words that are not known.
    Unknown,
    TooLong,
    /// Too long, and so many blocks would do.
    Told(u64),
}

fn about_length(error: &ChainError, from: u64, asked: u64) -> Length {
    const SURELY: [&str; 9] =
        ["range", "distance", "span", "blocks", "results", "too many logs", "response size", "narrow", "block count"];
    const LIKELY: [&str; 10] = [
        "limit",
        "too many",
        "too large",
        "too big",
        "too high",
        "more than",
        "exceed",
        "timeout",
        "timed out",
        "too long",
    ];
    let (code, text) = match error {
        ChainError::TooLarge { .. } | ChainError::Timeout { .. } => return Length::TooLong,
        ChainError::HttpStatus { status: 401 | 402 | 404 | 405 | 429, .. } => return Length::NotIt,
        ChainError::HttpStatus { status, text, .. } => (i64::from(*status), text.clone()),
        ChainError::Rpc(error) => {
            // Some put the words into `data`, and "invalid params" into the message.
            let data = error.data.as_ref().map(ToString::to_string).unwrap_or_default();
            (error.code, format!("{} {data}", error.message))
        }
        _ => return Length::NotIt,
    };
    let words = text.to_ascii_lowercase();
    let says = |any: &[&str]| any.iter().any(|one| words.contains(one));
    if says(&SURELY) {
        return told_blocks(&words, from, asked).map_or(Length::TooLong, Length::Told);
    }
    if is_rate_limit(code, &text) {
        return Length::NotIt;
    }
    match error {
        ChainError::HttpStatus { status: 400 | 413 | 422 | 500 | 503 | 504, .. } => Length::TooLong,
        _ if says(&LIKELY) => told_blocks(&words, from, asked).map_or(Length::TooLong, Length::Told),
        ChainError::Rpc(error) if matches!(error.fault(), Fault::NoSuchMethod) => Length::NotIt,
        _ => Length::Unknown,
    }
}

/// How many blocks an endpoint says it takes: from the range that it proposes, else the greatest number below what was asked
/// for. A number that means something else only makes the next query shorter.
fn told_blocks(words: &str, from: u64, asked: u64) -> Option<u64> {
    let hexes: Vec<u64> = words
        .split("0x")
        .skip(1)
        .filter_map(|rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            u64::from_str_radix(rest.get(..digits)?, 16).ok()
        })
        .collect();
    if let Some(through) = hexes.windows(2).find_map(|pair| match pair {
        [first, last] if *first == from && last >= first => Some(*last),
        _ => None,
    }) {
        return Some(through - from + 1).filter(|blocks| *blocks < asked);
    }
    let plain = words.replace(',', "");
    let numbers = plain.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(|word| match word.strip_suffix('k') {
        Some(thousands) => thousands.parse::<u64>().ok()?.checked_mul(1000),
        None => word.parse().ok(),
    });
    numbers.filter(|blocks| (2..asked).contains(blocks)).max()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::{
        super::tests::{ACCOUNT, node, saying},
        *,
    };
    use crate::wallet::rpc::transport::{Answering, Endpoint, Transport};

    /// A node that answers log queries of at most `most` blocks; otherwise the error, told with the length asked for.
    fn limited(most: u64, refusal: impl Fn(u64) -> ChainError + Send + Sync + 'static) -> (Arc<Mutex<Vec<u64>>>, Node) {
        struct Limited<F>(u64, F, Arc<Mutex<Vec<u64>>>);
        impl<F: Fn(u64) -> ChainError + Send + Sync> Transport for Limited<F> {
            fn origin(&self) -> &str {
                "stub"
            }
            fn request<'a>(&'a self, calls: &'a [Call]) -> Answering<'a> {
                let bound = |call: &Call, name: &str| {
                    u64::from_str_radix(&call.params[0][name].as_str().unwrap()[2..], 16).unwrap()
                };
                let answer = |call: &Call| {
                    let blocks = bound(call, "toBlock") - bound(call, "fromBlock") + 1;
                    self.2.lock().unwrap().push(blocks);
                    if blocks > self.0 { Err((self.1)(blocks)) } else { Ok(json!([])) }
                };
                let answers = calls.iter().map(answer).collect();
                Box::pin(async move { answers })
            }
        }
        let asked = Arc::new(Mutex::new(Vec::new()));
        (Arc::clone(&asked), Node::new(Endpoint::new(Limited(most, refusal, asked))))
    }

    fn refusing(code: i64, message: &str, data: Option<Value>) -> ChainError {
        ChainError::rpc("stub", "eth_getLogs", code, message, data)
    }

    #[tokio::test]
    async fn case_12_a_limit_on_the_length_is_known_by_any_of_its_wordings() {
        type Refusal = fn(u64) -> ChainError;
        let http = |status, text: &str| ChainError::HttpStatus {
            endpoint: "stub".into(),
            purpose: "eth_getLogs",
            status,
            text: text.into(),
        };
        let wordings: [Refusal; 9] = [
            |_| refusing(-32000, "maximum [from, to] blocks distance: 2000", None),
            |n| {
                refusing(
                    -32602,
                    "invalid params",
                    Some(json!({ "payload": format!("range {n} is bigger than range limit 2000") })),
                )
            },
            |_| refusing(-32600, "block span too big, use 2000 or less", None),
            |n| refusing(-32012, &format!("requested number of blocks too high: {n} > 2000"), None),
            |_| refusing(-32005, "limit exceeded", None),
            |_| {
                refusing(
                    -32602,
                    "Under the Free tier you can ask for up to a 2,000 block range. This block range should work: [0x64, 0x833]",
                    None,
                )
            },
            |_| refusing(-32614, "eth_getLogs is limited to a 2k range", None),
            |_| refusing(-32000, "vergangenheit zu lang", None),
            |_| {
                refusing(
                    -32701,
                    "Please specify an address in your request or, to remove restrictions, order a dedicated full node",
                    None,
                )
            },
        ];
        for (i, wording) in wordings.into_iter().enumerate() {
            let (_, node) = limited(2000, wording);
            let chunk =
                node.logs(&[LogQuery::default()], 100, 50_000).await.unwrap_or_else(|e| panic!("wording {i}: {e}"));
            assert!(chunk.through < 100 + 2000, "wording {i}");
        }
        // A number that the endpoint gives is used at once.
        let (asked, node) = limited(2000, |_| refusing(-32000, "maximum [from, to] blocks distance: 2000", None));
        node.logs(&[LogQuery::default()], 100, 50_000).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [10_000, 2000]);
        for (status, text) in [(400, "query exceeds max block range 2000"), (413, ""), (503, "")] {
            let (_, node) = limited(2000, move |_| http(status, text));
            assert!(node.logs(&[LogQuery::default()], 100, 50_000).await.is_ok(), "HTTP {status}");
        }
    }

    #[tokio::test]
    async fn case_14_a_quota_that_is_used_up_is_said_and_not_asked_about_again() {
        for (code, words) in [
            (-32005, "daily request count exceeded, request rate limited"),
            (-32005, "project ID request rate exceeded"),
            (429, "Monthly capacity limit exceeded. Upgrade your plan for continued service."),
        ] {
            let (asked, node) = limited(0, move |_| refusing(code, words, None));
            let error = node.logs(&[LogQuery::default()], 100, 50_000).await.unwrap_err();
            assert_eq!(asked.lock().unwrap().len(), 1, "{words}");
            assert!(error.is_passing(), "{error}");
            assert!(error.to_string().contains("limits how often it can be asked: wait, or use another"), "{error}");
        }
    }

    #[tokio::test]
    async fn case_15_null_are_no_logs() {
        let chunk = saying(Value::Null).logs(&[LogQuery::default()], 1, 9).await.unwrap();
        assert_eq!((chunk.logs.len(), chunk.through), (0, 9));
    }

    #[tokio::test]
    async fn an_error_in_unknown_words_costs_two_shorter_queries_and_teaches_nothing() {
        let (asked, node) = limited(0, |_| refusing(-32000, "vergangenheit nicht da", None));
        node.logs(&[LogQuery::default()], 100, 50_000).await.unwrap_err();
        assert_eq!(*asked.lock().unwrap(), [10_000, 5000, 10]);
        assert_eq!(node.span().blocks, LOG_SPAN);
    }

    #[tokio::test]
    async fn one_crowded_block_does_not_make_every_later_query_short() {
        struct Crowded;
        impl Transport for Crowded {
            fn origin(&self) -> &str {
                "stub"
            }
            fn request<'a>(&'a self, calls: &'a [Call]) -> Answering<'a> {
                let bound = |call: &Call, name: &str| {
                    u64::from_str_radix(&call.params[0][name].as_str().unwrap()[2..], 16).unwrap()
                };
                let answer = |call: &Call| {
                    let (from, to) = (bound(call, "fromBlock"), bound(call, "toBlock"));
                    let crowded = from <= 5000 && to >= 5000 && from != to;
                    if crowded {
                        Err(refusing(-32005, "query returned more than 10000 results", None))
                    } else {
                        Ok(json!([]))
                    }
                };
                let answers = calls.iter().map(answer).collect();
                Box::pin(async move { answers })
            }
        }
        let node = Node::new(Endpoint::new(Crowded));
        let (mut next, mut queries) = (1, 0);
        while next <= 1_000_000 {
            next = node.logs(&[LogQuery::default()], next, 1_000_000).await.unwrap().through + 1;
            queries += 1;
        }
        assert_eq!(node.span().blocks, LOG_SPAN);
        assert!(queries < 200, "{queries} queries for a hundred stretches");
    }

    fn log_at(block: u64, topic: B256) -> Value {
        json!({
            "address": ACCOUNT, "topics": [topic], "data": "0x", "blockNumber": format!("0x{block:x}"),
            "transactionHash": B256::ZERO, "logIndex": "0x0",
        })
    }

    #[tokio::test]
    async fn a_log_range_that_is_too_long_is_halved_until_it_fits() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let node = node(move |_, params| {
            let bound = |name: &str| u64::from_str_radix(&params[0][name].as_str().unwrap()[2..], 16).unwrap();
            let (from, to) = (bound("fromBlock"), bound("toBlock"));
            noted.lock().unwrap().push(to - from + 1);
            if to - from >= 3000 {
                return Err((-32005, "block range is too wide".into()));
            }
            Ok(json!([log_at(from, B256::ZERO)]))
        });
        let chunk = node.logs(&[LogQuery::default()], 100, 50_000).await.unwrap();
        assert_eq!((chunk.logs.len(), chunk.through), (1, 100 + 2500 - 1));
        // What was learnt is kept.
        node.logs(&[LogQuery::default()], chunk.through + 1, 50_000).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [10_000, 5000, 2500, 2500]);
    }

    #[tokio::test]
    async fn logs_that_were_not_asked_for_are_refused() {
        let query = [LogQuery { address: Some(ACCOUNT), topics: vec![vec![B256::repeat_byte(1)]] }];
        let fitting = saying(json!([log_at(5, B256::repeat_byte(1))]));
        assert_eq!(fitting.logs(&query, 1, 9).await.unwrap().logs.len(), 1);
        for log in [log_at(5, B256::ZERO), log_at(10, B256::repeat_byte(1))] {
            let error = saying(json!([log])).logs(&query, 1, 9).await.unwrap_err();
            assert!(matches!(error, ChainError::Mismatch { .. }), "{error}");
        }
    }
}
