//! What became of an operation, as the end of a command: a result, or a failure whose exit code says which.

use serde_json::{Value, json};

use super::{
    context::{Context, Done, done},
    show,
};
use crate::wallet::{
    error::{Class, Error, Result},
    submit::operation::OperationOutcome,
    usecase::{revoke::Verdict, status::Completed},
};

/// Success only when the operation is in a block and its inner call went through (or nobody wanted to wait).
pub fn finished(outcome: &OperationOutcome, data: Value, text: String, context: &mut Context) -> Result<Done> {
    match (outcome.phase, outcome.success) {
        (_, Some(true)) | ("sent", None) => done(data, text),
        ("refused", _) => {
            let reason = outcome.revert_reason.clone().unwrap_or_default();
            context.failed(data, Error::new(Class::Chain, "operation.refused", reason))
        }
        _ => {
            let reason = outcome.revert_reason.as_deref().unwrap_or("no reason given");
            let error =
                Error::new(Class::Reverted, "operation.reverted", format!("it was mined, but failed: {reason}"))
                    .hint("the call had no effect; gas was paid");
            context.failed(data, error)
        }
    }
}

/// An operation that was followed, with its proofs when it revoked keys.
pub fn followed(mut completed: Completed, context: &mut Context) -> Result<Done> {
    let mut data = show::operation::json(&completed.operation)?;
    data["proof"] = json!(completed.proof);
    data["proofs"] = json!(completed.proofs);
    data["paused"] = json!(completed.paused);
    data["remaining"] = json!(completed.remaining);
    let (verdict, words) = (completed.verdict(), completed.in_words());
    if let Some(error) = completed.not_proven.take() {
        return context.failed(data, error);
    }
    let mut lines = Vec::new();
    if verdict.is_some() {
        lines.push(words.clone());
    }
    lines.push(show::operation::text(&completed.operation));
    lines.extend(completed.proofs.iter().map(show::proof::text));
    lines.extend(completed.paused.as_ref().map(show::proof::paused));
    let text = lines.join("\n");
    if let Some(error) = verdict.and_then(|verdict| unsuccessful(verdict, &words)) {
        context.output.review(&text);
        return context.failed(data, error);
    }
    finished(&completed.operation, data, text, context)
}

/// What keeps a revocation that was mined from being a success, by its verdict.
pub fn unsuccessful(verdict: Verdict, words: &str) -> Option<Error> {
    match verdict {
        Verdict::Remaining => Some(
            Error::new(Class::Remaining, "revoke.remaining", words)
                .hint("see `data.remaining`; `keyleash revoke ACCOUNT --reclaim` removes what can act without being a session key"),
        ),
        Verdict::NotProven => {
            Some(Error::failed("revoke.not_proven", format!("it was mined, but {words}")).hint("run the revocation again"))
        }
        Verdict::Proven | Verdict::Done | Verdict::Waiting | Verdict::Failed => None,
    }
}
