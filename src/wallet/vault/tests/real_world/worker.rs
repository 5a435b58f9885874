//! One job on a vault in a process of its own: this test binary, started again. Other processes have other environments (a
//! private D-Bus, say), can be killed, and show what two processes do to one vault.

use std::{
    io,
    path::Path,
    process::{Command, Output},
};

use super::{
    ANVIL_0_ADDRESS, anvil, memory,
    vault::{
        Backend, PassphraseSource, SecretId, Vault, VaultError,
        import::{self, TextSource},
        upkeep::Finding,
    },
};

const JOB: &str = "KEYLEASH_TEST_JOB";
const HOME: &str = "KEYLEASH_TEST_HOME";
const MARK: &str = "worker says: ";

/// A command that runs `job` on the vault under `home`; for `what_a_worker_says`.
pub fn worker(home: &Path, job: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments());
    command.env(JOB, job).env(HOME, home);
    command
}

/// What to call this binary with, so that it does the job and nothing else.
fn arguments() -> [&'static str; 5] {
    ["--exact", "wallet::vault::tests::real_world::worker::job", "--nocapture", "--test-threads", "1"]
}

pub fn what_it_says(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().find_map(|line| line.split_once(MARK)).map(|(_, said)| said.to_owned());
    said.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Not a test of its own: it does what the environment says, and nothing without.
#[test]
fn job() {
    let (Ok(job), Ok(home)) = (std::env::var(JOB), std::env::var(HOME)) else { return };
    let words: Vec<&str> = job.split(' ').collect();
    let said = run(Path::new(&home), &words).unwrap_or_else(|error| format!("error: {error}"));
    println!("{MARK}{said}");
}

fn run(home: &Path, words: &[&str]) -> Result<String, VaultError> {
    let vault = Vault::for_tests_in(home, Backend::Keyring);
    let in_files = Vault::for_tests(home);
    let id = words.get(1).and_then(|word| word.parse::<SecretId>().ok()).unwrap_or_else(super::id);
    Ok(match words[0] {
        "status" => format!("{:?}", vault.status(Backend::Keyring)),
        "put-keyring" => vault.put(&id, &anvil(), "treasury").map(|()| "done".to_owned())?,
        "put-file" => in_files.put(&id, &anvil(), "treasury").map(|()| "done".to_owned())?,
        "get" => vault.get(&id)?.address().to_string(),
        "to-file" => vault.move_to(&id, Backend::File).map(|()| "done".to_owned())?,
        "to-keyring" => vault.move_to(&id, Backend::Keyring).map(|()| "done".to_owned())?,
        "rm" => vault.remove(&id).map(|()| "done".to_owned())?,
        "duplicate" => {
            vault.duplicate(&id);
            "done".to_owned()
        }
        "import" => import::hex_key(&TextSource::from_argument("-"))?.address().to_string(),
        "get-with-typed-passphrase" => {
            let vault = Vault::cheap(home, Backend::File, PassphraseSource::from_argument(Some("-")));
            let first = vault.get(&id)?.address();
            // Asked once only: the rest of the input is for somebody else.
            assert_eq!(vault.get(&id)?.address(), first);
            format!("{first}, left: {:?}", io::read_to_string(io::stdin()).unwrap())
        }
        "check" => verdicts(vault.check(&[])?),
        "check-known" => verdicts(vault.check(&[(id, ANVIL_0_ADDRESS)])?),
        "aftermath" => aftermath(&vault, &id)?,
        "memory" => memory::scan(&vault, &in_files, home, words[1])?,
        other => panic!("no such job: {other}"),
    })
}

fn verdicts(findings: Vec<Finding>) -> String {
    findings.iter().map(|finding| finding.verdict.to_string()).collect::<Vec<_>>().join("; ")
}

/// Where a secret is after a kill, whether it can be used at once, and the same after `check`.
fn aftermath(vault: &Vault, id: &SecretId) -> Result<String, VaultError> {
    let look = || -> Result<String, VaultError> {
        let (in_file, in_keyring) = vault.copies(id);
        let [in_file, in_keyring] =
            [in_file, in_keyring].map(|copy| copy.is_some_and(|s| s.address() == ANVIL_0_ADDRESS));
        let listed = vault.contains(id);
        let usable = vault.get(id).is_ok_and(|s| s.address() == ANVIL_0_ADDRESS);
        Ok(format!("file={in_file} keyring={in_keyring} listed={listed} usable={usable}"))
    };
    let before = look()?;
    let findings = vault.check(&[])?;
    let problems: Vec<_> = findings.iter().filter(|f| f.verdict.is_problem()).map(|f| f.verdict.to_string()).collect();
    Ok(format!("{before} then problems={}{} {}", problems.len(), problems.concat(), look()?))
}
