use std::sync::{
    Barrier,
    atomic::{AtomicUsize, Ordering},
};

use alloy::primitives::{Bytes, FixedBytes, U256, address};
use tempfile::TempDir;

use super::*;
use crate::protocol::family::account::Seed;
use crate::{
    erc4337::v06::UserOperation,
    policy::scope::Scope,
    protocol::kernel_v2::{
        account::selector,
        approval::{ApprovalRequest, EnableData},
        generation::{Generation, KernelVersion},
    },
    wallet::{
        files,
        records::model::{Carrier, Extent, OperationState, Origin, Purpose, SignedTransaction},
        vault::SecretId,
    },
};

const ACCOUNT: Address = address!("B2358b064F5eA10543Cf8034C8576b2E6Bfd3Be3");
const OTHER: Address = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");

struct Records {
    folder: TempDir,
    store: Store,
}

fn records() -> Records {
    let folder = tempfile::tempdir().unwrap();
    files::open(&folder.path().join("records.db")).unwrap();
    Records { store: Store::open(&folder.path().join("records.db")).unwrap(), folder }
}

impl Records {
    fn again(&self) -> Result<Store> {
        Store::open(&self.folder.path().join("records.db"))
    }

    /// What another program did to the file.
    fn tamper(&self, sql: &str) {
        Connection::open(self.folder.path().join("records.db")).unwrap().execute_batch(sql).unwrap();
    }
}

fn account(name: &str, address: Address) -> Account {
    Account {
        network: "local".into(),
        chain_id: u64::MAX,
        address,
        name: name.into(),
        owner: OTHER,
        owner_secret: Some(SecretId::random().unwrap()),
        seed: Some(Seed { owner: OTHER, index: U256::MAX }),
        kernel: KernelVersion::V0_2_3.into(),
        created_at: u64::MAX,
    }
}

fn key(id: &str) -> Key {
    Key {
        id: id.into(),
        label: "mint bot é".into(),
        network: "local".into(),
        chain_id: 1,
        account: ACCOUNT,
        owner: OTHER,
        session_key: OTHER,
        secret: None,
        validator: Generation::G3.into(),
        scope: Scope { valid_after: 0, valid_until: 7, paymaster: OTHER, permissions: Vec::new() },
        partial: None,
        functions: vec![None, Some("transfer(address to, uint256 amount)".into())],
        origin: Origin::Imported,
        init_code: Some(Bytes::from_static(&[1, 2])),
        was_deployed: false,
        created_at: 5,
        revoked_at: Some(6),
    }
}

fn approval(key: &Key, nonce: u128) -> ApprovalRecord {
    let request = ApprovalRequest {
        chain_id: 1,
        account: ACCOUNT,
        kernel: KernelVersion::V0_2_4,
        validator: Generation::G3,
        selector: selector::EXECUTE,
        executor: Address::ZERO,
        plugin_window: FixedBytes::ZERO,
        enable: EnableData::new(OTHER, &key.scope, nonce, Generation::G3),
    };
    ApprovalRecord { key_id: key.id.clone(), request: request.into(), signature: None, created_at: 9 }
}

fn turn(approval: &ApprovalRecord) -> u128 {
    approval.request.kernel_v2().enable.nonce
}

fn operation(hash: u8, created_at: u64) -> Operation {
    Operation {
        user_op_hash: B256::repeat_byte(hash),
        network: "local".into(),
        account: ACCOUNT,
        purpose: Purpose::Revoke { key_ids: vec!["a".into()], extent: Extent::Named },
        carrier: Carrier::UserOp(UserOperation { nonce: U256::MAX, ..UserOperation::default() }),
        progress: OperationState::Sent,
        created_at,
    }
}

fn own_transaction(hash: u8, created_at: u64) -> Operation {
    let sent = SignedTransaction {
        hash: B256::repeat_byte(hash),
        from: OTHER,
        nonce: u64::MAX,
        to: ACCOUNT,
        data: Bytes::from_static(&[1]),
        max_fee_per_gas: U256::from(u128::MAX),
        max_priority_fee_per_gas: U256::from(1),
        raw: Bytes::from_static(&[2]),
        carries: Some(B256::ZERO),
    };
    Operation { purpose: Purpose::Panic, carrier: Carrier::Transaction(sent), ..operation(hash, created_at) }
}

#[test]
fn an_operation_of_an_earlier_version_is_still_read() {
    let text = serde_json::to_string(&operation(1, 10)).unwrap();
    assert!(text.contains(r#""user_op":{"sender""#), "{text}");
}

#[test]
fn a_revocation_whose_record_says_nothing_of_its_extent_was_of_the_keys_that_it_names() {
    let mut record = serde_json::to_value(operation(1, 10)).unwrap();
    let revoke = record["purpose"]["revoke"].as_object_mut().unwrap();
    assert!(revoke.remove("extent").is_some());
    assert_eq!(serde_json::from_value::<Operation>(record).unwrap(), operation(1, 10));
}

#[test]
fn what_is_written_is_read_back_whole_also_by_the_next_process() {
    let records = records();
    let (account, key) = (account("treasury", ACCOUNT), key("k1"));
    let approvals = [approval(&key, 1), approval(&key, u128::MAX)];
    let agent = Agent { label: "bot".into(), address: OTHER, secret: SecretId::random().unwrap(), created_at: 1 };
    let operations = [operation(1, 10), operation(2, 20), own_transaction(3, 30)];
    records
        .store
        .write(|w| {
            w.put_account(&account)?;
            w.put_key(&key)?;
            w.put_agent(&agent)?;
            approvals.iter().try_for_each(|a| w.put_approval(a))?;
            operations.iter().try_for_each(|o| w.put_operation(o))?;
            w.put_proof("k1", 1, &"first")?;
            w.put_proof("k1", 2, &"second")
        })
        .unwrap();
    for store in [records.again().unwrap(), records.store] {
        store
            .read(|r| {
                assert_eq!(r.accounts()?, std::slice::from_ref(&account));
                assert_eq!(r.account_by_name("treasury")?, Some(account.clone()));
                assert_eq!(r.account("local", ACCOUNT)?, Some(account.clone()));
                assert_eq!(r.account("base", ACCOUNT)?, None);
                assert_eq!(r.keys()?, std::slice::from_ref(&key));
                assert_eq!(r.key("k1")?, Some(key.clone()));
                assert_eq!(r.approvals("k1")?, approvals);
                assert_eq!(r.approvals_of("local", ACCOUNT)?, approvals);
                assert_eq!(r.approval_by_digest(approvals[1].digest())?, Some(approvals[1].clone()));
                assert_eq!(r.agents()?, std::slice::from_ref(&agent));
                assert_eq!(r.agent_by_address(OTHER)?, Some(agent.clone()));
                assert_eq!(r.agent_by_label("no")?, None);
                assert_eq!(r.operations(10)?, operations.iter().rev().cloned().collect::<Vec<_>>());
                assert_eq!(r.operations(1)?.len(), 1);
                assert_eq!(r.operation(B256::repeat_byte(1))?, Some(operations[0].clone()));
                assert_eq!(r.proofs::<String>("k1")?, ["first", "second"]);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let records = records();
    let error = records
        .store
        .write(|w| {
            w.put_key(&key("k1"))?;
            w.put_approval(&approval(&key("k1"), 1))?;
            assert_eq!(w.read().keys()?.len(), 1, "a write reads its own changes");
            Err::<(), _>(Error::failed("test", "the signature failed"))
        })
        .unwrap_err();
    assert_eq!(error.code, "test");
    records
        .store
        .read(|r| {
            assert!(r.keys()?.is_empty() && r.approvals("k1")?.is_empty());
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_panic_during_a_write_leaves_nothing_behind_and_the_store_usable() {
    let records = records();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = records.store.write(|w| -> Result<()> {
            w.put_key(&key("k1"))?;
            panic!("cut off");
        });
    }));
    assert!(panicked.is_err());
    assert!(records.store.read(|r| r.keys()).unwrap().is_empty());
    records.store.write(|w| w.put_key(&key("k2"))).unwrap();
}

#[test]
fn an_approval_needs_its_key() {
    let records = records();
    let error = records.store.write(|w| w.put_approval(&approval(&key("missing"), 1))).unwrap_err();
    assert_eq!(error.code, "records.exists");
}

#[test]
fn two_processes_that_plan_the_next_turn_at_once_never_plan_the_same() {
    const EACH: u128 = 20;
    let records = records();
    records.store.write(|w| w.put_key(&key("k1"))).unwrap();
    let (start, busy) = (Barrier::new(2), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let store = records.again().unwrap();
            let (start, busy) = (&start, &busy);
            scope.spawn(move || {
                start.wait();
                for _ in 0..EACH {
                    store
                        .write(|w| {
                            assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0, "one writer at a time");
                            let last = w.read().approvals("k1")?.iter().map(turn).max().unwrap_or(0);
                            busy.fetch_sub(1, Ordering::SeqCst);
                            w.put_approval(&approval(&key("k1"), last + 1))
                        })
                        .unwrap();
                }
            });
        }
    });
    let mut turns: Vec<u128> = records.store.read(|r| r.approvals("k1")).unwrap().iter().map(turn).collect();
    turns.sort_unstable();
    assert_eq!(turns, (1..=2 * EACH).collect::<Vec<_>>());
}

#[test]
fn a_reader_sees_one_picture_while_another_process_writes() {
    let records = records();
    let other = records.again().unwrap();
    records
        .store
        .read(|r| {
            assert!(r.keys()?.is_empty());
            other.write(|w| w.put_key(&key("k1")))?;
            assert!(r.keys()?.is_empty(), "the picture does not change under the reader");
            Ok(())
        })
        .unwrap();
    assert_eq!(records.store.read(|r| r.keys()).unwrap().len(), 1);
}

#[test]
fn a_signature_is_added_to_its_draft_and_the_draft_is_not_doubled() {
    let records = records();
    let draft = approval(&key("k1"), 1);
    let signed = ApprovalRecord { signature: Some(Bytes::from_static(b"signed")), ..draft.clone() };
    records
        .store
        .write(|w| {
            w.put_key(&key("k1"))?;
            w.put_approval(&draft)?;
            w.put_approval(&signed)
        })
        .unwrap();
    assert_eq!(records.store.read(|r| r.approvals("k1")).unwrap(), [signed]);
}

#[test]
fn what_is_taken_off_the_lists_stays_on_record() {
    let records = records();
    let hidden = account("treasury", ACCOUNT);
    records
        .store
        .write(|w| {
            w.put_account(&hidden)?;
            w.put_key(&key("k1"))?;
            w.put_approval(&approval(&key("k1"), 1))?;
            w.hide_account("local", ACCOUNT)?;
            w.hide_key("k1")
        })
        .unwrap();
    records
        .store
        .read(|r| {
            assert!(r.accounts()?.is_empty() && r.account_by_name("treasury")?.is_none() && r.keys()?.is_empty());
            assert_eq!(r.account_under("local", ACCOUNT)?, Some((hidden.clone(), true)));
            assert_eq!(r.account_under("base", ACCOUNT)?, None);
            assert_eq!(r.account("local", ACCOUNT)?, Some(hidden.clone()));
            assert_eq!(r.keys_of("local", ACCOUNT, true)?.len(), 1);
            assert!(r.keys_of("local", ACCOUNT, false)?.is_empty());
            assert_eq!(r.approvals("k1")?.len(), 1);
            Ok(())
        })
        .unwrap();
    // Its name is free again, and adding the same account brings it back.
    records.store.write(|w| w.put_account(&account("treasury", OTHER))).unwrap();
    let renamed = Account { name: "old".into(), ..hidden };
    records.store.write(|w| w.put_account(&renamed)).unwrap();
    assert_eq!(records.store.read(|r| r.accounts()).unwrap().len(), 2);
}

#[test]
fn a_name_that_is_taken_is_not_given_twice() {
    let records = records();
    records.store.write(|w| w.put_account(&account("treasury", ACCOUNT))).unwrap();
    let error = records.store.write(|w| w.put_account(&account("treasury", OTHER))).unwrap_err();
    assert_eq!(error.code, "records.exists");
}

#[test]
fn records_of_a_newer_version_are_left_alone() {
    let records = records();
    records.tamper("PRAGMA user_version = 99");
    let error = records.again().map(|_| ()).unwrap_err();
    assert!(error.message.contains("newer keyleash") && error.message.contains("99"), "{error}");
    assert!(error.hint.contains("records.db"), "{}", error.hint);
}

/// A record file as an earlier version left it: one account under two network names, a key under each, and one approval that was
/// recorded for both; beside them a record that nobody can read.
fn records_of(version: usize) -> (TempDir, [Key; 2], ApprovalRecord) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    files::open(&path).unwrap();
    let mut connection = Connection::open(path).unwrap();
    let keys = [key("a"), under("main2", key("b"))];
    let approval = approval(&keys[1], 1);
    if version > 0 {
        migrations::up_to(&mut connection, 1);
        for key in &keys {
            let row = params![key.id, key.network, ACCOUNT.as_slice(), OTHER.as_slice(), key.label, json(key).unwrap()];
            let sql =
                "INSERT INTO key (id, network, account, session_key, label, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            connection.execute(sql, row).unwrap();
            let account = Account { network: key.network.clone(), chain_id: 1, ..account(&key.network, ACCOUNT) };
            let row = params![account.network, ACCOUNT.as_slice(), account.name, json(&account).unwrap()];
            connection
                .execute("INSERT INTO account (network, address, name, record) VALUES (?1, ?2, ?3, ?4)", row)
                .unwrap();
        }
        let sql = "INSERT INTO approval (key_id, digest, record) VALUES ('a', ?1, ?2)";
        connection.execute(sql, params![approval.digest().as_slice(), json(&approval).unwrap()]).unwrap();
        let sql = "INSERT INTO operation (user_op_hash, network, account, created_at, record) VALUES (?1, 'local', ?2, 1, ?3)";
        let operation = operation(1, 1);
        connection
            .execute(sql, params![operation.user_op_hash.as_slice(), ACCOUNT.as_slice(), json(&operation).unwrap()])
            .unwrap();
        let sql =
            "INSERT INTO account (network, address, name, hidden, record) VALUES ('local', ?1, 'x', 1, '{not JSON')";
        connection.execute(sql, params![OTHER.as_slice()]).unwrap();
    }
    if version > 1 {
        migrations::up_to(&mut connection, 2);
        connection.execute("INSERT INTO scan VALUES ('main2', ?1, '\"seen\"')", params![ACCOUNT.as_slice()]).unwrap();
    }
    migrations::up_to(&mut connection, version);
    (folder, keys, approval)
}

fn under(network: &str, key: Key) -> Key {
    Key { network: network.into(), ..key }
}

#[test]
fn records_of_every_earlier_version_are_upgraded_and_nothing_is_lost() {
    for version in 0..migrations::COUNT {
        let (folder, keys, approval) = records_of(version);
        let path = folder.path().join("records.db");
        drop(Store::open(&path).unwrap());
        let store = Store::open(&path).unwrap();
        if version == 0 {
            assert_eq!(store.read(|r| r.keys()).unwrap(), []);
            continue;
        }
        store
            .read(|r| {
                for name in ["local", "main2"] {
                    assert_eq!(r.keys_of(name, ACCOUNT, true)?, keys, "{version}: under {name}");
                    assert_eq!(
                        r.approvals_of(name, ACCOUNT)?,
                        std::slice::from_ref(&approval),
                        "{version}: under {name}"
                    );
                    assert_eq!(r.operations_of(name, ACCOUNT, 9)?, [operation(1, 1)], "{version}: under {name}");
                    assert_eq!(r.account(name, ACCOUNT)?.map(|a| a.name).as_deref(), Some(name));
                    assert_eq!(r.account_by_name(name)?.map(|a| a.network).as_deref(), Some(name));
                    let scan = r.scan::<String>(name, ACCOUNT)?;
                    assert_eq!(scan.as_deref(), (version > 1).then_some("seen"), "{version}: under {name}");
                }
                // Recorded for two keys, it is the approval of both, and that is told.
                assert_eq!(r.approvals("a")?, r.approvals("b")?);
                assert_eq!(r.approvals("a")?.len(), 1);
                assert_eq!(r.shares_approval("a")?.map(|k| k.id).as_deref(), Some("b"));
                assert_eq!(r.shares_approval("b")?.map(|k| k.id).as_deref(), Some("a"));
                Ok(())
            })
            .unwrap();
        store.write(|w| w.put_scan("local", ACCOUNT, &"again")).unwrap();
        assert_eq!(store.read(|r| r.scan::<String>("main2", ACCOUNT)).unwrap().as_deref(), Some("again"));
    }
}

#[test]
fn every_record_of_an_account_says_its_family() {
    let records = records();
    records
        .store
        .write(|w| {
            w.put_account(&account("treasury", ACCOUNT))?;
            w.put_key(&key("k1"))?;
            w.put_approval(&approval(&key("k1"), u128::MAX))
        })
        .unwrap();
    let connection = Connection::open(records.folder.path().join("records.db")).unwrap();
    for table in ["account", "key", "approval"] {
        let record: String =
            connection.query_row(&format!("SELECT record FROM {table}"), [], |row| row.get(0)).unwrap();
        assert!(record.starts_with(r#"{"family":"kernel-v2",""#), "{record}");
    }
}

/// Records in which `table` holds one of a family that nobody knows yet, beside one that everybody knows.
fn of_a_newer_family(table: &str) -> Records {
    let records = records();
    records
        .store
        .write(|w| {
            w.put_account(&account("treasury", ACCOUNT))?;
            w.put_account(&account("second", OTHER))?;
            w.put_key(&key("k1"))?;
            w.put_key(&key("k2"))?;
            w.put_approval(&approval(&key("k1"), 1))
        })
        .unwrap();
    records.tamper(&format!(
        r#"UPDATE {table} SET record = '{{"what": "nobody", "family": "kernel-v9"}}' WHERE rowid = 1"#
    ));
    records
}

#[test]
fn a_record_of_a_family_that_is_not_known_is_left_out_of_lists_told_and_never_written_over() {
    let unknown = |error: &Error, what: &str| {
        assert_eq!(error.code, "records.family", "{error}");
        assert!(error.message.starts_with(&format!("the record of {what} is of the family kernel-v9,")), "{error}");
        assert!(error.hint.contains("newer keyleash"), "{}", error.hint);
    };
    let told = |store: &Store| store.notices().take().into_iter().map(|remark| remark.code).collect::<Vec<_>>();
    let row = |records: &Records, table: &str| -> String {
        let connection = Connection::open(records.folder.path().join("records.db")).unwrap();
        connection.query_row(&format!("SELECT record FROM {table} WHERE rowid = 1"), [], |row| row.get(0)).unwrap()
    };

    let records = of_a_newer_family("account");
    let (store, before) = (records.again().unwrap(), row(&records, "account"));
    let listed = store.read(|r| r.accounts()).unwrap();
    assert_eq!(listed.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["second"]);
    assert_eq!(told(&store), ["records.family"]);
    unknown(&store.read(|r| r.account("local", ACCOUNT)).unwrap_err(), "account treasury");
    unknown(&store.read(|r| r.account_by_name("treasury")).unwrap_err(), "account treasury");
    unknown(&store.write(|w| w.put_account(&account("again", ACCOUNT))).unwrap_err(), "account treasury");
    unknown(&store.read(|r| r.require_every_family_known()).unwrap_err(), "account treasury");
    assert_eq!(row(&records, "account"), before);

    let records = of_a_newer_family("key");
    let (store, before) = (records.again().unwrap(), row(&records, "key"));
    assert_eq!(store.read(|r| r.keys()).unwrap(), [key("k2")]);
    assert_eq!(told(&store), ["records.family"]);
    unknown(&store.read(|r| r.key("k1")).unwrap_err(), "key k1");
    // What a revocation plans with must be all there is.
    unknown(&store.read(|r| r.keys_of("local", ACCOUNT, true)).unwrap_err(), "key k1");
    unknown(&store.write(|w| w.put_key(&key("k1"))).unwrap_err(), "key k1");
    assert_eq!(row(&records, "key"), before);

    let records = of_a_newer_family("approval");
    let (store, before) = (records.again().unwrap(), row(&records, "approval"));
    unknown(&store.read(|r| r.approvals("k1")).unwrap_err(), "approval of key k1");
    unknown(&store.read(|r| r.approvals_of("local", ACCOUNT)).unwrap_err(), "approval of key k1");
    unknown(&store.write(|w| w.put_approval(&approval(&key("k1"), 1))).unwrap_err(), "approval of key k1");
    assert_eq!(row(&records, "approval"), before);
}

#[test]
fn a_record_that_says_no_family_is_of_the_first() {
    let records = records();
    records.store.write(|w| w.put_key(&key("k1"))).unwrap();
    for sql in [
        "UPDATE key SET record = json_remove(record, '$.family')",
        "UPDATE key SET record = json_set(record, '$.family', NULL)",
        "UPDATE key SET record = json_set(json_remove(record, '$.family'), '$.family', 'kernel-v2')",
    ] {
        records.tamper(sql);
        assert_eq!(records.store.read(|r| r.keys()).unwrap(), [key("k1")], "{sql}");
    }
}

/// The account under two names, with a key and an operation under each.
fn under_two_names(chains: [u64; 2]) -> Records {
    let records = records();
    records.store.set_networks(BTreeMap::from([("local".into(), chains[0]), ("main2".into(), chains[1])]));
    records
        .store
        .write(|w| {
            for (name, chain_id, hash) in [("local", chains[0], 1), ("main2", chains[1], 2)] {
                w.put_account(&Account { network: name.into(), chain_id, ..account(name, ACCOUNT) })?;
                w.put_key(&Key { chain_id, ..under(name, key(name)) })?;
                w.put_approval(&approval(&key(name), hash.into()))?;
                w.put_operation(&Operation { network: name.into(), ..own_transaction(hash, hash.into()) })?;
            }
            Ok(())
        })
        .unwrap();
    records
}

/// What each name sees: keys, approvals, operations of the account, and of its owner.
fn seen(store: &Store) -> Vec<[usize; 4]> {
    let of = |name: &str| {
        store.read(|r| {
            let (keys, approvals) = (r.keys_of(name, ACCOUNT, false)?.len(), r.approvals_of(name, ACCOUNT)?.len());
            Ok([
                keys,
                approvals,
                r.operations_of(name, ACCOUNT, 9)?.len(),
                r.operations_beside(name, ACCOUNT, 9)?.len(),
            ])
        })
    };
    ["local", "main2"].map(|name| of(name).unwrap()).to_vec()
}

#[test]
fn k3_two_network_names_of_one_chain_are_one_account_and_of_two_chains_are_two() {
    assert_eq!(seen(&under_two_names([10, 10]).store), [[2; 4], [2; 4]]);
    assert_eq!(seen(&under_two_names([10, 8453]).store), [[1; 4], [1; 4]]);
}

#[test]
fn k3_local_chains_with_one_id_are_told_apart_by_their_block_0_once_it_is_known() {
    let records = under_two_names([31_337, 31_337]);
    assert_eq!(seen(&records.store), [[2; 4], [2; 4]], "not asked yet: no approval is overlooked");
    let learn = |name: &str, block_0: u8| {
        records.store.write(|w| w.put_genesis(name, 31_337, B256::repeat_byte(block_0))).unwrap();
    };
    learn("local", 1);
    assert_eq!(seen(&records.store), [[2; 4], [2; 4]], "one of them not asked yet");
    learn("main2", 2);
    assert_eq!(seen(&records.store), [[1; 4], [1; 4]], "two chains");
    learn("other", 1);
    records.store.set_networks(["local", "main2", "other"].map(|n| (n.to_owned(), 31_337)).into());
    assert_eq!(
        records.store.read(|r| r.keys_of("other", ACCOUNT, false)).unwrap().len(),
        1,
        "a third name of the first"
    );
    let same = |one: &str, other: &str| records.store.read(|r| r.is_one_account(one, other, ACCOUNT)).unwrap();
    assert!(same("local", "other") && !same("local", "main2") && !same("main2", "other"));
}

#[test]
fn k3_a_name_given_to_another_chain_does_not_take_the_records_along() {
    let records = under_two_names([10, 10]);
    records.store.write(|w| w.hide_account("local", ACCOUNT).and_then(|()| w.forget_network("local"))).unwrap();
    records.store.set_networks(BTreeMap::from([("local".into(), 1), ("main2".into(), 10)]));
    assert_eq!(records.store.read(|r| r.keys_of("main2", ACCOUNT, false)).unwrap().len(), 2, "with its chain");
}

#[test]
fn k3_the_approval_of_another_key_is_refused_and_its_row_stays() {
    let records = records();
    let first = approval(&key("k1"), 1);
    records
        .store
        .write(|w| w.put_key(&key("k1")).and_then(|()| w.put_key(&key("k2"))).and_then(|()| w.put_approval(&first)))
        .unwrap();
    let second = ApprovalRecord { key_id: "k2".into(), signature: Some(Bytes::from_static(b"x")), ..first.clone() };
    let error = records.store.write(|w| w.put_approval(&second)).unwrap_err();
    assert_eq!(error.code, "records.same_approval");
    assert!(error.message.contains("k1") && error.message.contains(&first.digest().to_string()), "{error}");
    assert_eq!(records.store.read(|r| r.approvals("k1")).unwrap(), [first]);
    assert_eq!(records.store.read(|r| r.approvals("k2")).unwrap(), []);
}

#[test]
fn a_file_that_is_no_database_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    std::fs::write(&path, "this is no database, and it is longer than a header of one hundred bytes".repeat(9))
        .unwrap();
    let error = Store::open(&path).map(|_| ()).unwrap_err();
    assert!(error.hint.contains("records.db"), "{error:?}");
}

#[test]
fn a_damaged_record_is_named() {
    let records = records();
    records
        .store
        .write(|w| {
            w.put_account(&account("treasury", ACCOUNT))?;
            w.put_key(&key("k1"))?;
            w.put_approval(&approval(&key("k1"), 1))?;
            w.put_operation(&operation(0xab, 1))
        })
        .unwrap();
    records.tamper(
        "UPDATE account SET record = '{}'; UPDATE key SET record = 'x'; UPDATE operation SET record = '[]';
         UPDATE approval SET record = json_set(record, '$.request.enable.nonce', 'many');",
    );
    let store = records.again().unwrap();
    let failures = [
        (store.read(|r| r.accounts()).map(|_| ()), "the record of account treasury "),
        (store.read(|r| r.account("local", ACCOUNT)).map(|_| ()), "the record of account treasury "),
        (store.read(|r| r.keys()).map(|_| ()), "the record of key k1 "),
        (store.read(|r| r.approvals_of("local", ACCOUNT)).map(|_| ()), "the record of approval of key k1 "),
        (store.read(|r| r.operations(1)).map(|_| ()), "the record of operation 0xabab"),
    ];
    for (result, named) in failures {
        let error = result.unwrap_err();
        assert_eq!(error.code, "records.damaged");
        assert!(error.message.starts_with(named), "expected {named:?}: {error}");
        assert!(error.hint.contains("backup"), "{}", error.hint);
    }
}

#[test]
fn live_records_wait_for_the_disk_and_only_a_sandboxs_do_not() {
    let records = records();
    let synchronous =
        |store: &Store| -> i64 { store.lock().query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap() };
    assert_eq!(synchronous(&records.store), 2, "FULL");
    let play = Store::open_play(&records.folder.path().join("records.db")).unwrap();
    assert_eq!(synchronous(&play), 0, "OFF");
}

// --- where nothing can be written -------------------------------------------------------------------------------------------

/// A folder in SQLite's way: it cannot make the file that it shares with other processes.
fn unwritable(folder: &Path) {
    std::fs::create_dir(folder.join("records.db-shm")).unwrap();
}

#[test]
fn k15_records_that_cannot_be_written_are_read_and_refuse_what_must_be_kept() {
    let records = records();
    records.store.write(|w| w.put_account(&account("treasury", ACCOUNT))).unwrap();
    let path = records.folder.path().join("records.db");
    drop(records.store);
    let before = std::fs::read(&path).unwrap();
    unwritable(records.folder.path());

    let store = Store::open(&path).unwrap();
    assert_eq!(store.read(|r| r.accounts()).unwrap().len(), 1);
    let refused = store.write(|w| w.put_account(&account("second", OTHER))).unwrap_err();
    assert_eq!(refused.code, "records.read_only");
    assert!(refused.message.contains("records.db") && !refused.hint.is_empty(), "{refused}");
    assert_eq!(store.require_writable().unwrap_err().code, "records.read_only");
    assert_eq!(store.notices().take(), [], "reading alone is nothing to talk about");

    // What happens in any case goes on, with a word, and is there for the rest of the process.
    store.note(|w| w.put_account(&account("second", OTHER))).unwrap();
    store.note(|w| w.hide_account("local", OTHER)).unwrap();
    assert_eq!(store.read(|r| r.all_accounts()).unwrap().len(), 2);
    let said = store.notices().take();
    assert_eq!(said.len(), 1, "said once");
    assert!(said[0].code == "records.not_written" && said[0].message.contains("nothing of this is written down"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn k15_what_stands_in_the_log_alone_is_read_too_and_half_a_commit_is_not() {
    let records = records();
    let copy = tempfile::tempdir().unwrap();
    let beside = |folder: &Path, name: &str| folder.join(name);
    records.store.write(|w| w.put_account(&account("treasury", ACCOUNT))).unwrap();
    records.store.write(|w| w.put_account(&account("second", OTHER))).unwrap();
    for name in ["records.db", "records.db-wal"] {
        std::fs::copy(beside(records.folder.path(), name), beside(copy.path(), name)).unwrap();
    }
    unwritable(copy.path());
    let names = |store: &Store| -> Vec<String> {
        store.read(|r| r.accounts()).unwrap().into_iter().map(|account| account.name).collect()
    };
    let log = beside(copy.path(), "records.db-wal");
    let whole = std::fs::read(&log).unwrap();
    assert!(!whole.is_empty());
    assert_eq!(names(&Store::open(&beside(copy.path(), "records.db")).unwrap()), ["second", "treasury"]);

    // The power went while the last commit was written: its pages do not count.
    std::fs::write(&log, &whole[..whole.len() - 100]).unwrap();
    assert_eq!(names(&Store::open(&beside(copy.path(), "records.db")).unwrap()), ["treasury"]);
    let mut spoilt = whole.clone();
    let last = spoilt.len() - 1;
    spoilt[last] ^= 1;
    std::fs::write(&log, &spoilt).unwrap();
    assert_eq!(names(&Store::open(&beside(copy.path(), "records.db")).unwrap()), ["treasury"]);
}

#[test]
fn k15_records_that_are_not_records_are_not_taken_for_unwritable_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    std::fs::write(&path, "not a database, but long enough to be looked at as one".repeat(100)).unwrap();
    assert_eq!(Store::open(&path).err().unwrap().code, "records.failed");
    unwritable(folder.path());
    assert!(Store::open(&path).is_err());
}
