//! Tests only: endpoints that answer what a test tells them to, over a local socket or without one.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::transport::{Answering, Call, ChainError, Endpoint, Together, Transport};

/// What the server does with a request.
pub enum Reply {
    Json(Value),
    Http(u16, String),
    /// Says nothing for a while, then hangs up.
    Silence(Duration),
}

/// A server on 127.0.0.1 that remembers what it was asked.
pub struct StubServer {
    pub url: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl StubServer {
    /// `answer` gets the number of the request, from 0, and its body.
    pub fn start(answer: impl Fn(usize, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, noted) = (Arc::new(answer), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                thread::spawn(move || serve(stream, &noted, answer.as_ref()));
            }
        });
        Self { url, seen }
    }

    /// Bodies in the order in which they came.
    pub fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Value>>, answer: &dyn Fn(usize, &Value) -> Reply) {
    let Some(body) = read_body(&stream) else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(body.clone());
        seen.len() - 1
    };
    let (status, text) = match answer(number, &body) {
        Reply::Json(value) => (200, value.to_string()),
        Reply::Http(status, text) => (status, text),
        Reply::Silence(time) => return thread::sleep(time),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    // The client may have hung up, which is its right.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
}

fn read_body(stream: &TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// The framed answer to one framed call.
pub fn result(call: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": call["id"], "result": result })
}

pub fn error(call: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": call["id"], "error": { "code": code, "message": message } })
}

/// What a canned endpoint answers: a result, or an error's code and message.
pub type Canned = Result<Value, (i64, String)>;

/// An endpoint without a socket.
pub fn canned(answer: impl FnMut(&str, &Value) -> Canned + Send + 'static) -> Endpoint {
    Endpoint::new(CannedTransport { answer: Mutex::new(Box::new(answer)), batches: true })
}

/// One that takes no batches.
pub fn canned_alone(answer: impl FnMut(&str, &Value) -> Canned + Send + 'static) -> Endpoint {
    Endpoint::new(CannedTransport { answer: Mutex::new(Box::new(answer)), batches: false })
}

/// The refusal of an endpoint that does not know a method.
pub fn unknown_method() -> Canned {
    Err((-32601, "the method does not exist".into()))
}

type Answerer = Box<dyn FnMut(&str, &Value) -> Canned + Send>;

struct CannedTransport {
    answer: Mutex<Answerer>,
    batches: bool,
}

impl Transport for CannedTransport {
    fn origin(&self) -> &str {
        "stub"
    }

    fn request<'a>(&'a self, calls: &'a [Call]) -> Answering<'a> {
        let answer = |call: &Call| {
            let canned = (self.answer.lock().unwrap())(call.method, &call.params);
            canned.map_err(|(code, message)| ChainError::rpc("stub", call.purpose, code, &message, None))
        };
        let answers = calls.iter().map(answer).collect();
        Box::pin(async move { answers })
    }

    fn together<'a>(&'a self, calls: &'a [Call]) -> Together<'a> {
        Box::pin(async move { if self.batches { Some(self.request(calls).await) } else { None } })
    }
}
