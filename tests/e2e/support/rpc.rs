//! JSON-RPC over HTTP on the loopback interface, both sides, in blocking code: just enough for a local node, bundler and
//! paymaster, and for services that misbehave on purpose.

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// A JSON-RPC error object, or (with code 0) a failure to talk at all.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
    pub data: Value,
}

impl RpcError {
    pub fn new(code: i64, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), data: Value::Null }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.message, self.data)
    }
}

/// Calls a method of the service at `http://127.0.0.1:PORT`.
pub fn call(url: &str, method: &str, params: Value) -> Result<Value, RpcError> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut answer = post(url, &request).map_err(|e| RpcError::new(0, format!("{url} {method}: {e}")))?;
    match answer.get_mut("error") {
        Some(error) if !error.is_null() => Err(RpcError {
            code: error["code"].as_i64().unwrap_or_default(),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
            data: error["data"].take(),
        }),
        // A service that is still starting may answer with something that is no JSON-RPC at all.
        _ => match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(RpcError::new(0, format!("{url} {method}: no JSON-RPC answer: {answer}"))),
        },
    }
}

/// Sends a body, a batch too, and answers what came back.
pub fn post(url: &str, request: &Value) -> std::io::Result<Value> {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let body = request.to_string();
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(serde_json::from_slice(&read_message(&mut BufReader::new(stream))?.1)?)
}

/// The first line and the body of one HTTP message.
pub fn read_message(from: &mut impl BufRead) -> std::io::Result<(String, Vec<u8>)> {
    let mut first = String::new();
    from.read_line(&mut first)?;
    let (mut length, mut chunked) = (None, false);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(n) = line.strip_prefix("content-length:") {
            length = n.trim().parse::<usize>().ok();
        }
        chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            from.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; size + 2]; // and its line end
            from.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = length {
        body.resize(length, 0);
        from.read_exact(&mut body)?;
    }
    Ok((first, body))
}

type Handler = dyn Fn(&str, &Value) -> Result<Value, RpcError> + Send + Sync;

/// Answers JSON-RPC requests, single or in batches, until this process ends. Returns its address, `http://127.0.0.1:PORT`.
pub fn serve(handler: impl Fn(&str, &Value) -> Result<Value, RpcError> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener on 127.0.0.1");
    let url = format!("http://{}", listener.local_addr().expect("the listener's address"));
    let handler: Arc<Handler> = Arc::new(handler);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handler = Arc::clone(&handler);
            thread::spawn(move || {
                // A client that hangs up early is its own business.
                let _ = answer(&stream, &*handler);
            });
        }
    });
    url
}

fn answer(mut stream: &TcpStream, handler: &Handler) -> std::io::Result<()> {
    let (_, body) = read_message(&mut BufReader::new(stream))?;
    let one = |request: &Value| {
        let method = request["method"].as_str().unwrap_or_default();
        match handler(method, &request["params"]) {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }),
            Err(e) => {
                json!({ "jsonrpc": "2.0", "id": request["id"], "error": { "code": e.code, "message": e.message, "data": e.data } })
            }
        }
    };
    let answer = match serde_json::from_slice(&body)? {
        Value::Array(batch) => Value::Array(batch.iter().map(one).collect()),
        request => one(&request),
    }
    .to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    )
}
