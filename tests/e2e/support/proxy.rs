//! A service between the binary and the bundler that hears every request and may answer in its place: a bundler that lies,
//! dawdles or fails.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{
    World,
    rpc::{self, RpcError},
};

pub struct Proxy {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

/// Hands a request on to the real bundler.
pub struct Forward<'a> {
    pub method: &'a str,
    pub params: &'a Value,
    bundler: &'a str,
}

impl Forward<'_> {
    pub fn on(&self) -> Result<Value, RpcError> {
        rpc::call(self.bundler, self.method, self.params.clone())
    }
}

impl Proxy {
    /// Answers every request with what `answer` says.
    pub fn start(
        world: &World,
        answer: impl Fn(&Forward<'_>) -> Result<Value, RpcError> + Send + Sync + 'static,
    ) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heard);
        let bundler = world.bundler.url.clone();
        let url = rpc::serve(move |method, params| {
            notes.lock().expect("the notes").push((method.to_owned(), params.clone()));
            answer(&Forward { method, params, bundler: &bundler })
        });
        Self { url, heard }
    }

    /// The parameters of each call of `method` so far.
    pub fn heard(&self, method: &str) -> Vec<Value> {
        let heard = self.heard.lock().expect("the notes");
        heard.iter().filter(|(m, _)| m == method).map(|(_, params)| params.clone()).collect()
    }
}
