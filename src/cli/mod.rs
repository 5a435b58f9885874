//! The command line: arguments in, one use-case of the core, text or JSON out.
//!
//! A command is one file in `commands`: its arguments, what it does, its text and its JSON. What several of them show is in `show`.

#![allow(clippy::indexing_slicing, reason = "the JSON objects of results are made here; lists are read with get")]

pub mod args;
mod chain_warnings;
mod commands;
mod context;
mod input;
mod offline_signing;
mod outcome;
pub mod output;
mod route;
mod show;

use std::{io::IsTerminal, process::ExitCode};

use args::{Cli, Global};
use clap::{Parser, error::ErrorKind};
use context::{Context, Done};
use output::{Output, print};
use serde_json::Value;

use crate::{
    text::{clean, is_unsafe},
    wallet::error::{Class, Error},
};

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let Some(command) = cli.command else {
        return no_command(&cli.global);
    };
    let mut context = Context::new(cli.global);
    if let Err(error) = crate::wallet::shield_process() {
        context.output.warn("process.shield", &error.to_string());
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            let error = Error::failed("process.runtime", format!("cannot start: {e}"));
            return fail(context.output, &error, Value::Null);
        }
    };
    #[cfg(target_os = "linux")]
    let _limits = runtime.block_on(async {
        // A limit on file sizes (ulimit -f) has to be an error that is handled, not a signal that ends a revocation halfway.
        const SIGXFSZ: i32 = 25;
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(SIGXFSZ))
    });
    match runtime.block_on(command.run(&mut context)) {
        Ok(Done { data, text }) => match context.output.done(&data, &text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(Output::new(false), &error, Value::Null),
        },
        Err(error) => fail(context.output, &error, context.known),
    }
}

fn fail(output: Output, error: &Error, data: Value) -> ExitCode {
    output.failed(error, data);
    ExitCode::from(error.class.exit_code())
}

/// clap's own errors: help and version are results, everything else is a usage error - in JSON when that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match print(&error.render().to_string()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(1),
        };
    }
    let text = error.render().to_string();
    if std::env::args_os().any(|a| a == "--json") {
        let said = text.split("\n\nUsage:").next().unwrap_or_default().trim_start_matches("error: ");
        let message = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let failure = Error::usage("usage", clean(&message, 500)).hint("see `keyleash --help`");
        Output::new(true).failed(&failure, Value::Null);
    } else if text.chars().any(|c| c != '\n' && is_unsafe(c)) {
        // clap repeats the argument it does not know; without its colours it can be shown safely.
        Output::new(false).say(&text);
    } else {
        let _ = error.print();
    }
    ExitCode::from(Class::Usage.exit_code())
}

/// Without a command, a person on a terminal gets the terminal UI.
fn no_command(global: &Global) -> ExitCode {
    #[cfg(feature = "tui")]
    if !global.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return terminal_ui(global);
    }
    let message = if std::io::stdout().is_terminal() {
        "no command given: `keyleash --help` lists them"
    } else {
        "no command given, and no terminal for the interactive UI: try `keyleash demo`, or see `keyleash --help`"
    };
    fail(Output::new(global.json), &Error::usage("usage.no_command", message), Value::Null)
}

#[cfg(feature = "tui")]
fn terminal_ui(global: &Global) -> ExitCode {
    let mut output = Output::new(false);
    if let Err(error) = crate::wallet::shield_process() {
        output.warn("process.shield", &error.to_string());
    }
    let colour = match global.color {
        args::ColorChoice::Auto => None,
        args::ColorChoice::Always => Some(true),
        args::ColorChoice::Never => Some(false),
    };
    let session = || {
        let (home, sandbox_home) = (global.profile()?, global.sandbox_profile()?);
        let passphrase_file = global.passphrase_file.clone();
        crate::tui::run(crate::tui::Options { home, sandbox_home, passphrase_file, colour })
    };
    match session() {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(output, &error, Value::Null),
    }
}
