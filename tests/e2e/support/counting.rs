//! Proxies in front of the node and the bundler that count requests and connections, and may refuse batches.

use std::{
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use super::{World, rpc};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Node,
    Bundler,
}

/// What came in, in order.
#[derive(Debug, Clone)]
pub enum Seen {
    Connection(Side),
    /// The methods in one HTTP request.
    Request(Side, Vec<String>),
}

pub struct Counting {
    pub node: String,
    pub bundler: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What one command made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub requests: usize,
    pub connections: usize,
}

impl Counting {
    pub fn start(world: &World, batches: bool) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let node = serve(Side::Node, world.chain.url.clone(), batches, &seen);
        let bundler = serve(Side::Bundler, world.bundler.url.clone(), batches, &seen);
        Self { node, bundler, seen }
    }

    /// What came in since the last time.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().expect("what came in"))
    }
}

/// Up to the first request after something was sent: the rest is waiting and looking.
pub fn before_waiting(seen: &[Seen]) -> &[Seen] {
    let sends = |seen: &Seen| match seen {
        Seen::Request(_, methods) => methods.iter().any(|m| m.starts_with("eth_send")),
        Seen::Connection(_) => false,
    };
    let end = seen.iter().rposition(sends).map_or(seen.len(), |at| at + 1);
    &seen[..end]
}

pub fn count(seen: &[Seen], side: Side) -> Counted {
    Counted {
        requests: seen.iter().filter(|s| matches!(s, Seen::Request(of, _) if *of == side)).count(),
        connections: seen.iter().filter(|s| matches!(s, Seen::Connection(of) if *of == side)).count(),
    }
}

fn serve(side: Side, upstream: String, batches: bool, seen: &Arc<Mutex<Vec<Seen>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener on 127.0.0.1");
    let url = format!("http://{}", listener.local_addr().expect("the listener's address"));
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (seen, upstream) = (Arc::clone(&seen), upstream.clone());
            thread::spawn(move || {
                seen.lock().expect("what came in").push(Seen::Connection(side));
                // A client that hangs up is its own business.
                let _ = connection(&stream, side, &upstream, batches, &seen);
            });
        }
    });
    url
}

/// Answers one request after the other on a connection that is kept.
fn connection(
    mut stream: &TcpStream,
    side: Side,
    upstream: &str,
    batches: bool,
    seen: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (first, body) = rpc::read_message(&mut reader)?;
        if first.trim().is_empty() {
            return Ok(());
        }
        let body: Value = serde_json::from_slice(&body)?;
        let method = |call: &Value| call["method"].as_str().unwrap_or_default().to_owned();
        let methods = body.as_array().map_or_else(|| vec![method(&body)], |calls| calls.iter().map(method).collect());
        seen.lock().expect("what came in").push(Seen::Request(side, methods));
        let answer = if body.is_array() && !batches {
            json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": "batch requests are not supported" } })
        } else {
            rpc::post(upstream, &body)?
        };
        let answer = answer.to_string();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        )?;
    }
}
