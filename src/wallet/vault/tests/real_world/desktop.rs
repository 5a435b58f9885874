//! What these tests do in a home with a keyring: a worker's jobs, and a look for keys in clear.

use std::{fs, time::Instant};

pub use super::session::Desktop;
use super::{
    ANVIL_0, anvil,
    session::{PROMISE, files_below},
    worker::{what_it_says, worker},
};

impl Desktop {
    /// Runs a worker's job here, and holds it to the promise.
    pub fn run(&self, job: &str) -> String {
        let mut command = worker(self.path(), job);
        self.dress(&mut command);
        let begun = Instant::now();
        let said = what_it_says(&command.output().unwrap());
        assert!(begun.elapsed() < PROMISE, "{job} took {:?}: {said}", begun.elapsed());
        said
    }

    /// Neither the key as raw bytes, as hex nor as base64 is in any file of this home.
    pub fn assert_no_clear_text(&self) {
        use base64::Engine;
        let secret = anvil();
        let raw = secret.expose().to_vec();
        let needles = [
            raw.clone(),
            ANVIL_0.as_bytes().to_vec(),
            ANVIL_0.to_uppercase().into_bytes(),
            base64::engine::general_purpose::STANDARD_NO_PAD.encode(&raw).into_bytes(),
        ];
        let files = files_below(self.path());
        assert!(files.len() > 2, "there was something to search");
        for file in files {
            let content = fs::read(&file).unwrap();
            for needle in &needles {
                let found = content.windows(needle.len()).any(|window| window == needle);
                assert!(!found, "a key in clear in {}", file.display());
            }
        }
    }
}
