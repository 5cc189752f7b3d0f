//! What is said in a dialect and written in the same one is what was said.
//!
//! Settings are adapted to models (words and budgets of thought, forms that become tools), so they are not compared. Only
//! the project's own cases are tried: recorded ones have what servers refuse of their own dialect.

use super::cases::{Case, UNIQUE, Which, each};
use super::roster;
use crate::dialects::{Place, Target};

const MODEL: &str = "gull-1";

#[test]
fn a_conversation_comes_back_as_it_was() {
    for which in [Which::Answers, Which::Errors] {
        each(which, |case| if case.is_ours && case.request.is_object() { there_and_back(case) } else { Ok(()) });
    }
}

fn there_and_back(case: &Case) -> Result<(), String> {
    let fronts = roster::fronts();
    let Some(speaker) = fronts.iter().find(|speaker| speaker.name == case.kind) else { return Ok(()) };
    let place = Place { model: Some(MODEL), stream: Some(case.stream) };
    let read = |body: &[u8]| speaker.front.read(body, &place).map_err(|refusal| refusal.to_string());
    let there = read(case.request.to_string().as_bytes())?;
    let target = Target { model: MODEL, unique: UNIQUE };
    let sent = case.provider.chat(&there, &target).map_err(|unfit| unfit.to_string())?;
    let back = read(&sent.body).map_err(|words| format!("refused on its way back: {words}"))?;
    if back.messages == there.messages && back.stream == there.stream {
        return Ok(());
    }
    Err(format!("{:?}\n    instead of\n    {:?}", back.messages, there.messages))
}
