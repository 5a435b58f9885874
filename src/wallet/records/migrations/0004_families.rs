//! Why: all that was recorded until here is of one family of session keys, and said so nowhere. From here on accounts, keys and
//! approvals say which; one that does not is of the first. A record that cannot be read is left as it is, and so is every other
//! byte of the others: they are what an owner signed.

use rusqlite::{Result, Transaction};

pub(super) fn up(records: &Transaction<'_>) -> Result<()> {
    for table in ["account", "key", "approval"] {
        // Put in front as text: SQLite's own JSON would be written anew as a whole. What is no object, or an empty one, is damaged.
        records.execute_batch(&format!(
            "
UPDATE {table} SET record = '{{\"family\":\"kernel-v2\",' || substr(trim(record, char(32, 9, 10, 13)), 2)
    WHERE CASE WHEN json_valid(record) THEN json_type(record) = 'object' AND json_type(record, '$.family') IS NULL
        AND EXISTS (SELECT 1 FROM json_each(record)) ELSE 0 END;
"
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, rows, up_to};

    #[test]
    fn every_record_says_its_family_and_is_otherwise_what_it_was() {
        let mut records = at(3);
        let texts = [
            (
                r#"{"nonce":340282366920938463463374607431768211455,"b":1e400}"#,
                r#"{"family":"kernel-v2","nonce":340282366920938463463374607431768211455,"b":1e400}"#,
            ),
            ("\n { \"label\" : \"mint é \\u0000\" }\t", r#"{"family":"kernel-v2", "label" : "mint é \u0000" }"#),
            (r#"{"family":"another","x":1}"#, r#"{"family":"another","x":1}"#),
            ("{not JSON", "{not JSON"),
            ("[]", "[]"),
            ("\"x\"", "\"x\""),
            ("{}", "{}"),
        ];
        for (position, (before, _)) in texts.iter().enumerate() {
            let run = |sql: &str| records.execute(sql, rusqlite::params![position.to_string(), before]).unwrap();
            run("INSERT INTO account (network, address, name, record) VALUES ('n', CAST(?1 AS BLOB), ?1, ?2)");
            run(
                "INSERT INTO key (id, network, account, session_key, label, record) VALUES (?1, 'n', x'', x'', '', ?2)",
            );
            run("INSERT INTO approval (key_id, digest, record) VALUES (?1, CAST(?1 AS BLOB), ?2)");
        }
        up_to(&mut records, 4);
        for table in ["account", "key", "approval"] {
            let after = rows(&records, &format!("SELECT record FROM {table} ORDER BY rowid"));
            assert_eq!(after, texts.map(|(_, after)| after), "{table}");
        }
    }
}
