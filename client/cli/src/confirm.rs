//! Asks before anything that cannot be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::{
    exit::{Code, Failure},
    output::plain,
};

/// Asks whether to go on; whoever said so before is not asked. Without a terminal nobody
/// can answer, and nothing is done.
pub(crate) fn confirm(question: &str, is_said: bool) -> Result<(), Failure> {
    if is_said {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let text = format!("{question} Nobody is there to confirm it: pass --yes");
        return Err(Failure::new(Code::NotConfirmed, text));
    }
    let failed = |error: io::Error| Failure::new(Code::NotConfirmed, format!("no answer: {error}"));
    let mut stderr = io::stderr();
    write!(stderr, "{} [y/N] ", plain(question)).map_err(failed)?;
    stderr.flush().map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Code::NotConfirmed, "nothing was done")),
    }
}
