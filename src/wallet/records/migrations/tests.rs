//! Records of every age, opened by two processes at once and by one that is killed in the middle.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rusqlite::types::ValueRef;
use tempfile::TempDir;

use super::*;
use crate::wallet::records::store::Store;

/// Empty records of an earlier version.
pub(super) fn at(version: usize) -> Connection {
    let mut records = Connection::open_in_memory().unwrap();
    up_to(&mut records, version);
    records
}

pub(in crate::wallet::records) fn up_to(records: &mut Connection, version: usize) {
    through(records, &ALL[..version]).unwrap();
}

/// The first column of each row, as text.
pub(super) fn rows(records: &Connection, sql: &str) -> Vec<String> {
    let mut statement = records.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            ValueRef::Integer(number) => number.to_string(),
            other => panic!("{other:?}"),
        })
    });
    rows.unwrap().map(|row| row.unwrap()).collect()
}

/// A copy of the records of 22 November 2026 (version 2), which are checked in.
fn november() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/home-2026-11-22/home/records.db"), &path)
        .unwrap();
    (folder, path)
}

const RECORDS: &str =
    "SELECT record FROM account UNION ALL SELECT record FROM key UNION ALL SELECT record FROM approval
    UNION ALL SELECT record FROM agent UNION ALL SELECT record FROM operation UNION ALL SELECT record FROM proof
    UNION ALL SELECT record FROM scan";

/// Each record without what the migrations add to it.
fn records_in(path: &Path) -> Vec<String> {
    let records = rows(&Connection::open(path).unwrap(), RECORDS);
    records.iter().map(|record| record.replacen(r#"{"family":"kernel-v2","#, "{", 1)).collect()
}

fn is_whole(path: &Path) {
    let records = Connection::open(path).unwrap();
    assert_eq!(rows(&records, "PRAGMA integrity_check"), ["ok"]);
    assert_eq!(
        records.prepare("PRAGMA foreign_key_check").unwrap().query([]).unwrap().next().unwrap().map(|_| ()),
        None
    );
}

#[test]
fn the_records_of_22_november_open_and_every_record_is_what_it_was() {
    let (_folder, path) = november();
    let before = records_in(&path);
    assert!(before.len() > 60, "{}", before.len());
    for _ in 0..2 {
        let store = Store::open(&path).unwrap();
        let (accounts, keys) = store.read(|r| Ok((r.all_accounts()?, r.keys()?))).unwrap();
        assert_eq!((accounts.len(), keys.len()), (8, 19));
        let approvals: usize = keys.iter().map(|key| store.read(|r| r.approvals(&key.id)).unwrap().len()).sum();
        assert_eq!(approvals, 19, "one of them is another key's too, and one is of a key off the list");
        assert_eq!(store.notices().take(), []);
        drop(store);
        assert_eq!(records_in(&path), before);
        is_whole(&path);
    }
}

#[test]
fn a_step_that_fails_leaves_the_records_as_they_were() {
    let (_folder, path) = november();
    let before = rows(&Connection::open(&path).unwrap(), RECORDS);
    let fails: Migration = |records| records.execute_batch("DELETE FROM approval; SELECT no_such_function();");
    let mut connection = Connection::open(&path).unwrap();
    assert!(through(&mut connection, &[ALL[0], ALL[1], ALL[2], ALL[3], fails]).is_err());
    assert_eq!(rows(&connection, RECORDS), before);
    assert_eq!(rows(&connection, "PRAGMA user_version"), ["2"]);
}

#[test]
fn records_of_a_newer_version_are_refused_and_left_alone() {
    for newer in [VERSION + 1, 99] {
        let mut records = at(ALL.len());
        records.pragma_update(None, "user_version", newer).unwrap();
        let error = run(&mut records).unwrap_err().to_string();
        assert!(error.contains("newer keyleash") && error.contains(&newer.to_string()), "{error}");
        assert_eq!(rows(&records, "PRAGMA user_version"), [newer.to_string()]);
    }
}

// --- other processes ---------------------------------------------------------------------------------------------------------

const JOB: &str = "KEYLEASH_TEST_MIGRATION";
const RECORDS_FILE: &str = "KEYLEASH_TEST_RECORDS";
const STARTED: &str = "in the middle";

/// This test binary once more, as another process that opens the records.
fn other_process(job: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "wallet::records::migrations::tests::other", "--ignored", "--nocapture"])
        .envs([(JOB, job.as_ref()), (RECORDS_FILE, path.as_os_str())])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "what other_process runs"]
fn other() {
    let (Ok(job), Some(path)) = (std::env::var(JOB), std::env::var_os(RECORDS_FILE)) else { return };
    let path = PathBuf::from(path);
    match job.as_str() {
        "open" => {
            let store = Store::open(&path).unwrap();
            assert_eq!(store.read(|r| r.keys()).unwrap().len(), 19);
        }
        "stop in the middle" => {
            let waits: Migration = |records| {
                records.execute_batch("UPDATE key SET record = 'x' || record; DELETE FROM proof;")?;
                println!("{STARTED}");
                std::thread::sleep(Duration::from_secs(60));
                Ok(())
            };
            let mut connection = Connection::open(&path).unwrap();
            connection.pragma_update(None, "journal_mode", "WAL").unwrap();
            // So small that what is not committed is on the disk before the end.
            connection.pragma_update(None, "cache_size", 2).unwrap();
            through(&mut connection, &[ALL[0], ALL[1], ALL[2], ALL[3], waits]).unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_process_that_is_killed_in_the_middle_loses_nothing_and_others_wait_for_it() {
    let (_folder, path) = november();
    let before = records_in(&path);
    let mut killed = other_process("stop in the middle", &path);
    let mut lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(STARTED)));
    let log = std::fs::metadata(path.with_extension("db-wal")).unwrap().len();
    assert!(log > 0, "something of it is on the disk");
    // Another one comes meanwhile: it waits, and goes on when the first is dead.
    let mut waiting = other_process("open", &path);
    std::thread::sleep(Duration::from_millis(300));
    assert!(waiting.try_wait().unwrap().is_none(), "it waits");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(waiting.wait().unwrap().success());
    assert_eq!(records_in(&path), before);
    assert_eq!(rows(&Connection::open(&path).unwrap(), "PRAGMA user_version"), [VERSION.to_string()]);
    is_whole(&path);
}

#[test]
fn processes_that_open_old_records_at_once_migrate_them_once() {
    let (_folder, path) = november();
    let before = records_in(&path);
    let at_once: Vec<Child> = (0..4).map(|_| other_process("open", &path)).collect();
    for mut process in at_once {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(records_in(&path), before);
    is_whole(&path);
}
