//! What is written to clients is compared, byte for byte, with what is written down beside each fixture:
//! `<case>.<dialect>.golden`. `MILLSTREAM_BLESS=1` writes it down anew.

use std::fs;

use http::HeaderMap;

use super::cases::{Case, Which, each};
use super::fronts::{asked, encoded};
use super::roster::{self, Speaker};

#[test]
fn answers_are_what_was_written_down() {
    for which in [Which::Answers, Which::Errors] {
        each(which, |case| {
            if case.is_ours {
                roster::fronts().iter().try_for_each(|speaker| check(case, speaker))
            } else {
                Ok(())
            }
        });
    }
}

fn check(case: &Case, speaker: &Speaker) -> Result<(), String> {
    let written = written(case, speaker)?;
    let stem = case.path.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}.{}.golden", speaker.name);
    let path = case.path.with_file_name(&name);
    if blesses() {
        fs::write(&path, &written).map_err(|error| error.to_string())?;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let written = String::from_utf8_lossy(&written);
    if golden == written {
        return Ok(());
    }
    let mut lines = golden.lines().zip(written.lines()).enumerate();
    let Some((at, (old, new))) = lines.find(|(_, (old, new))| old != new) else {
        return Err(format!(
            "{name} is longer or shorter than before: {} and {} bytes",
            golden.len(),
            written.len()
        ));
    };
    Err(format!("line {} of {name} was\n    {old}\n  and is\n    {new}", at + 1))
}

/// A stream for a stream, a document for a document, an error with its status for an error.
fn written(case: &Case, speaker: &Speaker) -> Result<Vec<u8>, String> {
    let mut bytes = if case.status >= 400 {
        let failure = case.provider.failure(case.status, &HeaderMap::new(), case.body.as_bytes());
        let (status, body) = speaker.front.failure(&failure, "req_1");
        [format!("{status}\n").as_bytes(), &body].concat()
    } else if case.stream {
        encoded(speaker, &case.events().map_err(|error| error.to_string())?)
    } else {
        speaker.front.answer(&case.answer().map_err(|error| error.to_string())?, &asked(false))
    };
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    Ok(bytes)
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever changes the dialects says so for one run: no setting of the gateway"
)]
pub(super) fn blesses() -> bool {
    std::env::var_os("MILLSTREAM_BLESS").is_some_and(|word| word == "1")
}
