//! The manual: one page with every command, from the definitions that parse the arguments, and the policy file, from the
//! reference that is also read on its own.

use std::io::{self, Write};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use serde_json::json;

use crate::{
    cli::{
        args::Cli,
        context::{Context, Done, done},
    },
    wallet::error::{Error, Result},
};

/// The manual page
#[derive(Debug, Args)]
pub struct ManArgs {}

impl ManArgs {
    pub async fn run(self, _context: &mut Context) -> Result<Done> {
        let text = page().map_err(|e| Error::failed("man", format!("the manual page could not be written: {e}")))?;
        done(json!({ "man": text }), text)
    }
}

/// The page in roff: the program first, then each command under a heading of its own.
fn page() -> io::Result<String> {
    let mut program = Cli::command();
    program.build();
    let man = Man::new(program.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in program.get_subcommands() {
        add(&mut page, command)?;
    }
    policy_file(&mut page)?;
    man.render_version_section(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn add(page: &mut Vec<u8>, command: &Command) -> io::Result<()> {
    if command.get_name() == HELP {
        return Ok(());
    }
    // What every command takes is said once, for the program.
    let own = command.clone().mut_args(|argument| {
        let everywhere = argument.is_global_set() || [HELP, "version"].contains(&argument.get_id().as_str());
        argument.hide(everywhere)
    });
    let has_arguments = own.get_arguments().any(|argument| !argument.is_hide_set());
    let man = Man::new(own);
    let mut section = Vec::new();
    man.render_description_section(&mut section)?;
    man.render_synopsis_section(&mut section)?;
    if has_arguments {
        man.render_options_section(&mut section)?;
    }
    // One level down, and without the preamble that each section brings along.
    let section = String::from_utf8_lossy(&section).replace(".SH ", ".SS ");
    let name = command.get_bin_name().unwrap_or(command.get_name());
    writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
    for line in section.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el ")) {
        writeln!(page, "{line}")?;
    }
    command.get_subcommands().try_for_each(|further| add(page, further))
}

/// The reference of the policy file: headings, paragraphs, tables of three columns and blocks of code, which is all it uses.
fn policy_file(page: &mut Vec<u8>) -> io::Result<()> {
    let mut in_code = false;
    for line in POLICY_FILE.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
            writeln!(page, "{}", if in_code { ".PP\n.nf" } else { ".fi" })?;
        } else if in_code {
            writeln!(page, "{}", roff(line))?;
        } else if let Some(heading) = line.strip_prefix("# ") {
            writeln!(page, ".SH \"{}\"", heading.to_uppercase())?;
        } else if let Some(heading) = line.strip_prefix("## ") {
            writeln!(page, ".SS \"{heading}\"")?;
        } else if let Some(row) = line.strip_prefix("| `") {
            let mut columns = row.trim_end_matches('|').split('|').map(|column| column.trim().replace('`', ""));
            let mut column = || columns.next().unwrap_or_default();
            let (name, need, meaning) = (column(), column(), column());
            let need = if need.is_empty() { need } else { format!(" ({need})") };
            writeln!(page, ".TP\n\\fB{}\\fR{}\n{}", roff(&name), roff(&need), roff(&meaning))?;
        } else if line.starts_with('|') {
            // The head of a table: its columns say themselves what they are.
        } else if line.is_empty() {
            writeln!(page, ".PP")?;
        } else {
            writeln!(page, "{}", roff(&line.replace('`', "")))?;
        }
    }
    Ok(())
}

/// A line of text, with what roff would take for its own.
fn roff(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

const POLICY_FILE: &str = include_str!("../../../docs/policy.md");
/// What clap adds by itself.
const HELP: &str = "help";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// What a person reads about every command: a change of it is looked at.
    #[test]
    fn help_and_manual_are_those_that_were_looked_at() {
        let mut program = Cli::command().term_width(100);
        program.build();
        let mut help = program.render_long_help().to_string();
        let mut commands = Vec::new();
        every(&program, &mut commands);
        for command in commands {
            let name = command.get_bin_name().unwrap();
            // What every command takes is said once.
            let mut own = command.clone().mut_args(|argument| {
                let everywhere = argument.is_global_set();
                argument.hide(everywhere)
            });
            help += &format!("\n=== {name}\n\n{}", own.render_long_help());
        }
        insta::assert_snapshot!("help", help);
        insta::assert_snapshot!("manual", page().unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }

    /// The words of a line as a shell takes them, as far as the README goes: double quotes, and comments.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
        for c in line.chars() {
            match c {
                '"' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                '#' if word.is_none() && !quoted => break,
                c if c.is_whitespace() && !quoted => words.extend(word.take()),
                c => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }

    /// They need a live network, so they are not run; what they call exists.
    #[test]
    fn every_command_of_the_readme_is_one() {
        let readme = include_str!("../../../README.md").replace("\\\n", " ");
        let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        let lines: Vec<&str> = blocks.flat_map(str::lines).filter(|line| line.starts_with("keyleash ")).collect();
        assert!(lines.len() > 12, "{lines:?}");
        for line in lines {
            let line = line.replace("0xTHE_BOTS_ADDRESS", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
            if let Err(error) = Cli::try_parse_from(words(&line)) {
                panic!("{line}: {error}");
            }
        }
    }

    fn every<'a>(command: &'a Command, found: &mut Vec<&'a Command>) {
        for further in command.get_subcommands().filter(|c| c.get_name() != "help") {
            found.push(further);
            every(further, found);
        }
    }

    #[test]
    fn the_manual_has_the_reference_of_the_policy_file() {
        let page = page().unwrap();
        let section = page.split(".SH \"THE POLICY FILE\"\n").nth(1).unwrap().split("\n.SH ").next().unwrap();
        let rows = POLICY_FILE.lines().filter_map(|line| line.strip_prefix("| `"));
        let fields: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
        assert!(fields.len() > 20, "{fields:?}");
        for field in fields {
            assert!(section.contains(&format!("\\fB{field}\\fR")), "{field} in {section}");
        }
        assert!(section.contains(".nf\nlabel = \"mint\\-bot\"\n"), "{section}");
        assert!(!section.contains("```") && !section.contains("\n|"), "{section}");
    }

    #[test]
    fn the_manual_names_every_command_and_every_option() {
        let page = page().unwrap();
        let mut program = Cli::command();
        program.build();
        let mut commands = Vec::new();
        every(&program, &mut commands);
        assert!(commands.len() > 40, "{}", commands.len());
        for command in commands {
            let name = command.get_bin_name().unwrap().to_uppercase();
            let section =
                page.split(&format!(".SH \"{name}\"\n")).nth(1).unwrap_or_else(|| panic!("{name} is missing"));
            let section = section.split(".SH ").next().unwrap();
            for argument in command.get_arguments().filter(|a| !a.is_global_set()) {
                let Some(long) = argument.get_long().filter(|long| !["help", "version"].contains(long)) else {
                    continue;
                };
                // roff writes a dash as \-
                let option = format!("--{long}").replace('-', "\\-");
                assert!(section.contains(&option), "{name} {option} in {section}");
            }
        }
    }
}
