//! The keyring backend on a real gnome-keyring (Debian: `apt-get install dbus gnome-keyring`).

use std::{fs, path::PathBuf, process::Command};

use rustix::process::Signal;

use super::{
    ANVIL_0_ADDRESS, ID, OTHER_ID,
    desktop::Desktop,
    vault::{Step, Vault},
    worker::{what_it_says, worker},
};

fn file_of(desktop: &Desktop) -> PathBuf {
    desktop.path().join("vault").join(format!("{ID}.json"))
}

#[test]
fn a_secret_lives_in_the_keyring_and_moves_to_a_file_and_back() {
    let Some(desktop) = Desktop::unlocked() else { return };
    let address = ANVIL_0_ADDRESS.to_string();
    assert_eq!(desktop.run("status"), "Available");
    assert_eq!(desktop.run(&format!("put-keyring {ID}")), "done");
    assert_eq!(desktop.run(&format!("get {ID}")), address);
    assert!(desktop.run(&format!("put-keyring {ID}")).contains("already"));
    assert!(!file_of(&desktop).exists());
    desktop.assert_no_clear_text();

    assert_eq!(desktop.run(&format!("to-file {ID}")), "done");
    assert!(file_of(&desktop).exists());
    assert_eq!(
        desktop.run(&format!("aftermath {ID}")),
        "file=true keyring=false listed=true usable=true then problems=0 file=true keyring=false listed=true usable=true"
    );
    assert_eq!(desktop.run(&format!("to-keyring {ID}")), "done");
    assert!(!file_of(&desktop).exists());
    assert_eq!(desktop.run(&format!("get {ID}")), address);
    assert_eq!(desktop.run("check"), "in the keyring vault, as recorded");
    desktop.assert_no_clear_text();

    assert_eq!(desktop.run(&format!("rm {ID}")), "done");
    assert!(desktop.run(&format!("get {ID}")).contains("there is no secret"));
    assert_eq!(desktop.run("check"), "");
}

#[test]
fn check_leaves_one_copy_of_two() {
    let Some(desktop) = Desktop::unlocked() else { return };
    for (put, kept) in [("put-keyring", "keyring"), ("put-file", "file")] {
        assert_eq!(desktop.run(&format!("{put} {ID}")), "done");
        assert_eq!(desktop.run(&format!("duplicate {ID}")), "done");
        assert!(desktop.run("check").starts_with(&format!("it was in both vaults: kept in the {kept} vault")));
        let aftermath = desktop.run(&format!("aftermath {ID}"));
        let (file, keyring) = (kept == "file", kept == "keyring");
        assert!(
            aftermath.starts_with(&format!("file={file} keyring={keyring} listed=true usable=true")),
            "{aftermath}"
        );
        assert_eq!(desktop.run(&format!("rm {ID}")), "done");
    }
}

#[test]
fn a_lost_index_is_rebuilt_from_what_the_records_name() {
    let Some(desktop) = Desktop::unlocked() else { return };
    assert_eq!(desktop.run(&format!("put-keyring {ID}")), "done");
    fs::remove_file(desktop.path().join("vault/index.json")).unwrap();
    assert!(desktop.run(&format!("get {ID}")).contains("there is no secret"));
    assert_eq!(desktop.run("check"), "", "a keyring cannot be listed");
    assert!(desktop.run(&format!("check-known {OTHER_ID}")).contains("in neither vault"));
    assert!(desktop.run(&format!("check-known {ID}")).contains("without being recorded there: recorded"));
    assert_eq!(desktop.run(&format!("get {ID}")), ANVIL_0_ADDRESS.to_string());
}

#[test]
fn an_entry_can_be_found_by_a_person_in_their_keyring_manager() {
    let Some(desktop) = Desktop::unlocked() else { return };
    desktop.run(&format!("put-keyring {ID}"));
    let mut search = Command::new("dbus-send");
    desktop.dress(&mut search);
    let found = search
        .args(["--session", "--print-reply", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets"])
        .args(["org.freedesktop.Secret.Service.SearchItems", "dict:string:string:service,keyleash"])
        .output()
        .unwrap();
    let path = String::from_utf8(found.stdout).unwrap();
    let path = path.split('"').find(|part| part.starts_with("/org/freedesktop/secrets/")).unwrap().to_owned();
    let mut label = Command::new("dbus-send");
    desktop.dress(&mut label);
    let label = label
        .args(["--session", "--print-reply", "--dest=org.freedesktop.secrets", &path])
        .args(["org.freedesktop.DBus.Properties.Get", "string:org.freedesktop.Secret.Item", "string:Label"])
        .output()
        .unwrap();
    let label = String::from_utf8(label.stdout).unwrap();
    assert!(label.contains(&format!("keyleash: treasury ({ANVIL_0_ADDRESS})")), "{label}");
}

#[test]
fn a_locked_keyring_is_named_and_keeps_what_it_has() {
    let Some(mut desktop) = Desktop::unlocked() else { return };
    assert_eq!(desktop.run(&format!("put-keyring {ID}")), "done");
    for password in [Some("wrong"), None] {
        desktop.stop_keyring();
        desktop.start_keyring(password);
        assert_eq!(desktop.run("status"), "Locked", "{password:?}");
        for (job, id) in [("get", ID), ("put-keyring", OTHER_ID), ("to-file", ID), ("rm", ID)] {
            let said = desktop.run(&format!("{job} {id}"));
            assert!(said.contains("your keyring is locked") || said.contains("dismissed"), "{job}: {said}");
        }
        assert!(desktop.run("check").contains("left as it is"), "{password:?}");
    }
    desktop.stop_keyring();
    desktop.start_keyring(Some("right"));
    assert_eq!(desktop.run("check"), "in the keyring vault, as recorded");
    assert_eq!(desktop.run(&format!("get {ID}")), ANVIL_0_ADDRESS.to_string());
    desktop.assert_no_clear_text();
}

#[test]
fn without_a_keyring_nothing_is_stored_and_the_other_way_is_offered() {
    let Some(desktop) = Desktop::new() else { return };
    let offers = |said: &str| said.contains("there is no keyring to ask") && said.contains("--vault file");
    let status = desktop.run("status");
    assert_eq!(status, "Absent { why: \"no program on your session bus keeps secrets\" }");
    let said = desktop.run(&format!("put-keyring {ID}"));
    assert!(offers(&said), "bus without service: {said}");
    let vault = Vault::for_tests(desktop.path());
    assert!(vault.list().unwrap().is_empty() && !desktop.path().join("vault").exists(), "nothing is stored");

    let alone = |job: &str| {
        let mut command = worker(desktop.path(), job);
        desktop.dress(&mut command);
        command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/nothing", desktop.path().display()));
        what_it_says(&command.output().unwrap())
    };
    assert_eq!(alone("status"), "Absent { why: \"there is no session bus here\" }");
    let said = alone(&format!("put-keyring {ID}"));
    assert!(offers(&said), "no bus: {said}");
    assert_eq!(alone(&format!("put-file {ID}")), "done");
    let said = alone(&format!("to-keyring {ID}"));
    assert!(offers(&said), "no bus: {said}");
    assert_eq!(vault.list().unwrap()[0].step, Step::Stored, "a move that cannot be is not begun");
    assert_eq!(alone(&format!("get {ID}")), ANVIL_0_ADDRESS.to_string());
}

#[test]
fn a_frozen_keyring_is_given_up_on_and_nothing_is_lost() {
    let Some(desktop) = Desktop::unlocked() else { return };
    assert_eq!(desktop.run(&format!("put-keyring {ID}")), "done");
    desktop.signal(Signal::STOP);
    assert_eq!(desktop.run("status"), "Frozen");
    // Side by side: each one takes its time.
    std::thread::scope(|scope| {
        for (job, id) in [("get", ID), ("to-file", ID), ("put-keyring", OTHER_ID), ("check", "")] {
            let desktop = &desktop;
            scope.spawn(move || {
                let said = desktop.run(&format!("{job} {id}"));
                assert!(said.contains("your keyring has not answered"), "{job}: {said}");
            });
        }
    });
    let said = desktop.run(&format!("rm {ID}"));
    assert!(said.contains("your keyring has not answered"), "rm: {said}");
    desktop.signal(Signal::CONT);
    assert_eq!(desktop.run("status"), "Available");
    let said = desktop.run("check");
    assert!(said.starts_with("its removal was cut off, and it is still in the keyring"), "{said}");
    assert_eq!(desktop.run(&format!("get {ID}")), ANVIL_0_ADDRESS.to_string());
}
