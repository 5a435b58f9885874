//! Passphrases and keys that come through standard input, as in scripts.

use std::{io::Write, path::Path, process::Stdio};

use super::{
    ANVIL_0, ANVIL_0_ADDRESS, ID,
    vault::Vault,
    worker::{what_it_says, worker},
};

fn with_input(home: &Path, job: &str, input: &str) -> String {
    let mut command = worker(home, job);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    what_it_says(&child.wait_with_output().unwrap())
}

#[test]
fn the_passphrase_is_the_first_line_and_is_asked_once() {
    let home = tempfile::tempdir().unwrap();
    Vault::for_tests(home.path()).put(&super::id(), &super::anvil(), "treasury").unwrap();
    let job = format!("get-with-typed-passphrase {ID}");
    assert_eq!(with_input(home.path(), &job, "test\nrest\n"), format!("{ANVIL_0_ADDRESS}, left: \"rest\\n\""));
    assert!(with_input(home.path(), &job, "wrong\n").contains("wrong passphrase"));
    assert!(with_input(home.path(), &job, "").contains("empty passphrase"));
}

#[test]
fn a_key_is_read_to_the_end_and_nothing_else_may_be_there() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(with_input(home.path(), "import", &format!("0x{ANVIL_0}\n")), ANVIL_0_ADDRESS.to_string());
    for bad in ["", "\n", &format!("{ANVIL_0}\n{ANVIL_0}\n"), &ANVIL_0[2..], &"a".repeat(5000)] {
        let said = with_input(home.path(), "import", bad);
        assert!(said.contains("standard input cannot be used") && !said.contains(&ANVIL_0[..8]), "{said}");
    }
}
