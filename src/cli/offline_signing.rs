//! Operations that the owner signs elsewhere: `--unsigned` writes one to a file, `complete` sends it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    context::{Done, done},
    output::to_pretty_json,
};
use crate::wallet::{
    error::{Error, Result},
    home::create,
    usecase::offline_signing::UnsignedOperation,
};

#[derive(Debug, Args)]
pub struct UnsignedArgs {
    /// Write what the owner must sign elsewhere; send nothing
    #[arg(long, requires = "out")]
    unsigned: bool,
    /// The file for --unsigned
    #[arg(long, value_name = "FILE", requires = "unsigned")]
    out: Option<PathBuf>,
}

impl UnsignedArgs {
    /// Where the operation goes, when it is not to be sent.
    pub fn file(&self) -> Option<&Path> {
        self.out.as_deref().filter(|_| self.unsigned)
    }
}

pub fn write(operation: &UnsignedOperation, out: &Path) -> Result<Done> {
    if out.exists() {
        return Err(Error::usage("file.exists", format!("{} already exists; it was not changed", out.display()))
            .hint("choose another file"));
    }
    create(out, to_pretty_json(operation)?.as_bytes())?;
    let text = format!(
        "Written to {}. Sign its `message` with the owner's wallet (personal_sign over the 32 bytes), then:\n\
         keyleash complete {} --signature-file SIGNATURE",
        out.display(),
        out.display()
    );
    done(json!({ "written": out, "message": operation.message, "user_op": operation.user_op }), text)
}
