//! The published ZeroDev SDKs, driven through the scripts in tests/e2e/js.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{World, chain::CHAIN_ID, here, skipped};

/// Which one: a folder below tests/e2e/js with its own node_modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    /// `@zerodev/sdk` 4.7.8.
    V4,
    /// `@zerodev/session-key` 5.5.4.
    V5,
}

impl Sdk {
    fn folder(self) -> &'static str {
        match self {
            Self::V4 => "js/v4",
            Self::V5 => "js/v5",
        }
    }

    /// Runs a command of the script with `request` and where the chain is. `Err` has what the SDK said.
    pub fn run(self, world: &World, command: &str, request: Value) -> Result<Value, String> {
        let mut full = json!({
            "command": command, "node": world.chain.url, "bundler": world.bundler.url, "chainId": CHAIN_ID,
        });
        let fields = full.as_object_mut().expect("an object");
        fields.extend(request.as_object().expect("an object").clone());

        let mut node = Command::new("node")
            .arg("sdk.mjs")
            .current_dir(here(self.folder()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node starts");
        node.stdin.take().expect("its stdin").write_all(full.to_string().as_bytes()).expect("the request is taken");
        let output = node.wait_with_output().expect("node ends");
        let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!("{self:?} {command} answered no JSON ({e}): {}", String::from_utf8_lossy(&output.stderr))
        });
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Whether it is installed; says so loudly when not.
    pub fn is_there(self) -> bool {
        let there = here(self.folder()).join("node_modules").exists();
        if !there {
            skipped(&format!("SDK {self:?} round trip"), "not installed: run tests/e2e/setup");
        }
        there
    }
}
