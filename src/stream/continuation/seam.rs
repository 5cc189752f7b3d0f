//! Whether new text goes on where the old one broke off, as far as can be told from the text.
//!
//! A target that was asked to continue may do something else: begin again, repeat the sentence it was given, or
//! send back what it was given and then go on (Mistral has done that). Three things are checkable, all by text
//! that stands in the answer already: new text that starts like the answer did, with the answer's very end, or with
//! the sentence or line that broke off there.
//!
//! A false alarm costs what there was without continuation, an error event; a miss costs doubled text. So the
//! match itself is enough, but where the text shows that it repeats itself anyway: the passage consists of
//! repetitions (rules of tables, runs of spaces), the answer has it more than once (lists, refrains, rows of data),
//! or its end is a repetition already.
//!
//! Not checkable, and so not checked: a target that begins again in other words; one that repeats from further
//! back than [`TAIL_CHARS`], or less than [`LEAST_CHARS`]; white space at the seam that a chat template took off the
//! old text and that the target then says once more; and whether what follows makes sense.

use memchr::memmem;

use crate::api::prefill::Prefill;

/// Characters of new text that are waited for: at some four a token less than ten tokens, a fraction of a second.
const HELD_CHARS: usize = 32;
/// Characters that tell something. Shorter passages recur by chance: "The ", "    return ".
const LEAST_CHARS: usize = 16;
/// Characters before the seam in which a repetition begins, if it does: a sentence or two, some lines of code.
const TAIL_CHARS: usize = 256;
/// Bytes of something that is repeated at once: a line or two.
const PERIOD_BYTES_MAX: usize = 256;

/// What is to be done with the new text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// More of it is needed.
    Wait,
    /// It continues the old text behind this many bytes, which are the old text sent back.
    Continues(usize),
    /// It is the old text from its beginning.
    Restarted,
    /// It starts with the old text's end.
    Repeated,
}

/// Judges `new` as a continuation of `old`. `first` is what the first chunk with text had; `is_all`, whether there
/// won't be more.
pub(super) fn judge(old: &str, new: &str, first: &str, style: Prefill, is_all: bool) -> Verdict {
    if new.is_empty() {
        return if is_all { Verdict::Continues(0) } else { Verdict::Wait };
    }
    if let Some(verdict) = sent_back(old, new, first, style, is_all) {
        return verdict;
    }
    let needed = match at_most(old, HELD_CHARS) {
        // Nothing can be told from so little.
        ..LEAST_CHARS => 1,
        length => length,
    };
    if !is_all && at_most(new, needed) < needed {
        return Verdict::Wait;
    }
    if is_restart(old, new) {
        Verdict::Restarted
    } else if is_repetition(old, new) {
        Verdict::Repeated
    } else {
        Verdict::Continues(0)
    }
}

/// Whether the new text begins with all of the old one. Whatever the target did, the answer goes on behind it, so
/// it is no fault. Mistral sends the text back in the first chunk, without the white space at its end, and says that
/// once more in the second; from such targets a short text is taken as sent back, too.
fn sent_back(old: &str, new: &str, first: &str, style: Prefill, is_all: bool) -> Option<Verdict> {
    let trimmed = old.trim_end();
    let is_one_chunk = style == Prefill::Prefix && !trimmed.is_empty() && (first == trimmed || first == old);
    let rest = new.strip_prefix(trimmed)?;
    let tells = || at_most(trimmed, LEAST_CHARS) == LEAST_CHARS && tells(trimmed, old);
    if !is_one_chunk && !tells() {
        return None;
    }
    let space = &old[trimmed.len()..];
    Some(if rest.starts_with(space) {
        Verdict::Continues(old.len())
    } else if space.starts_with(rest) {
        if is_all { Verdict::Continues(new.len()) } else { Verdict::Wait }
    } else {
        Verdict::Continues(trimmed.len())
    })
}

/// Whether the new text starts like the old one did.
fn is_restart(old: &str, new: &str) -> bool {
    let (start, new) = (old.trim_start(), new.trim_start());
    let same = start.chars().zip(new.chars()).take_while(|(old, new)| old == new).map(|(same, _)| same);
    let (mut chars, mut bytes) = (0, 0);
    for same in same {
        chars += 1;
        bytes += same.len_utf8();
    }
    chars >= LEAST_CHARS && tells(&start[..bytes], old)
}

/// Whether the new text starts with the end of the old one, or with the sentence or line that broke off. How far
/// that goes on is not waited for: as much as is held has to do.
fn is_repetition(old: &str, new: &str) -> bool {
    let is_end = |end: usize| old.ends_with(&new[..end]) && tells(&new[..end], old);
    if ends(new).take(TAIL_CHARS).skip(LEAST_CHARS - 1).any(is_end) {
        return true;
    }
    let new = new.trim_start();
    let Some(passage) = ends(new).nth(HELD_CHARS - 1).map(|end| &new[..end]) else { return false };
    let tail_start = old.char_indices().rev().take(TAIL_CHARS).last().map_or(0, |(at, _)| at);
    let place = old[tail_start..].find(passage).map(|at| tail_start + at);
    place.is_some_and(|place| begins_sentence(&old[..place]) && tells(passage, old))
}

/// Whether a sentence or a line begins behind `before`. From there a sentence is repeated; that a passage recurs
/// which begins anywhere else is no sign, least of all in program code.
fn begins_sentence(before: &str) -> bool {
    let before = before.trim_end_matches(' ');
    before.is_empty() || before.ends_with(['\n', '.', '!', '?', ':', '\u{3002}', '\u{ff01}', '\u{ff1f}'])
}

/// Where each character of `text` ends.
fn ends(text: &str) -> impl Iterator<Item = usize> {
    text.char_indices().map(|(at, letter)| at + letter.len_utf8())
}

/// Whether finding `passage`, which stands in `old`, once more behind it says anything.
fn tells(passage: &str, old: &str) -> bool {
    let finder = memmem::Finder::new(passage);
    let occurs_once = finder.find(old.as_bytes()).is_some_and(|at| {
        // A passage may overlap with itself.
        old.as_bytes().get(at + 1..).is_none_or(|rest| finder.find(rest).is_none())
    });
    occurs_once && !is_periodic(passage.as_bytes()) && !goes_on_repeating(old.as_bytes(), passage.as_bytes())
}

/// Whether `old` ends in a repetition that `passage` goes on with.
fn goes_on_repeating(old: &[u8], passage: &[u8]) -> bool {
    (1..=PERIOD_BYTES_MAX.min(old.len() / 2)).any(|period| {
        let (rest, last) = old.split_at(old.len() - period);
        rest.ends_with(last) && passage.iter().zip(last.iter().chain(passage)).all(|(new, before)| new == before)
    })
}

/// Whether `passage` consists of at least two repetitions of one thing, the last of which may be cut.
fn is_periodic(passage: &[u8]) -> bool {
    // Knuth, Morris and Pratt: `borders[i]` bytes are beginning and end of the first `i + 1`.
    let mut borders = vec![0; passage.len()];
    let mut border = 0;
    for at in 1..passage.len() {
        while border > 0 && passage[at] != passage[border] {
            border = borders[border - 1];
        }
        border += usize::from(passage[at] == passage[border]);
        borders[at] = border;
    }
    border > 0 && border * 2 >= passage.len()
}

/// The number of characters, counted up to `most`.
fn at_most(text: &str, most: usize) -> usize {
    text.chars().take(most).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Verdict::{Continues, Repeated, Restarted, Wait};
    use super::*;

    const OLD: &str = "The wheel turns because the water pushes its paddles, and the stones grind \u{e4}ll the gr";

    fn check(old: &str, new: &str, is_all: bool, expected: Verdict) {
        for style in [Prefill::Vllm, Prefill::Prefix] {
            assert_eq!(judge(old, new, "", style, is_all), expected, "{old:?} then {new:?}, {style:?}");
        }
    }

    #[test]
    fn a_continuation_passes_once_there_is_enough_of_it() {
        check(OLD, "ain. Then it rests.", false, Wait);
        check(OLD, "ain. Then it rests.", true, Continues(0));
        check(OLD, "ain. Then it rests, as all of us do.", false, Continues(0));
        check(OLD, "", false, Wait);
        check(OLD, "", true, Continues(0));
        check("", "The", false, Continues(0));
        check("The wheel", "s", false, Continues(0));
        check("The wheel turns around", " and around and around", false, Continues(0));
    }

    #[test]
    fn an_answer_from_its_beginning_is_refused() {
        check(OLD, "The wheel turns because the water", false, Restarted);
        check(OLD, "\n The wheel turns because the water", false, Restarted);
        check(OLD, "The wheel turns by itself, as all wheels do.", false, Restarted);
        check(OLD, "The wheel turns ", true, Restarted);
        check(OLD, "The wheel turns ", false, Wait);
        check(OLD, "The wheel is not a wheel, it is a mill.", false, Continues(0));
        // Too short to be told from chance.
        check("The wheel", "The wheel turns", false, Continues(0));
    }

    #[test]
    fn an_end_that_is_said_again_is_refused() {
        check(OLD, "stones grind \u{e4}ll the grain, as they do.", false, Repeated);
        check(OLD, "the stones grind \u{e4}ll the gr", true, Repeated);
        check(
            "It rests. The wheel turns because the water pu",
            "The wheel turns because the water pushes",
            false,
            Repeated,
        );
        check(
            "It rests:\nthe wheel turns because the water pu",
            " the wheel turns because the water pushes",
            false,
            Repeated,
        );
        check(OLD, "the water pushes its paddles, and the", false, Continues(0));
        check(OLD, "\u{e4}ll the great stones of the mill, too", false, Continues(0));
    }

    #[test]
    fn what_repeats_itself_may_go_on() {
        check(&"-".repeat(40), &"-".repeat(40), false, Continues(0));
        check("| --- | --- | --- | --- |", " --- | --- | --- | --- | --- | ---", false, Continues(0));
        check("la la la la la la la la la", " la la la la la la la la la la la", false, Continues(0));
        let row = "- the mill at the river\n";
        check(&row.repeat(2), &row.repeat(2), false, Continues(0));
        check(&format!("A list:\n{row}{row}"), &row.repeat(2), false, Continues(0));
    }

    #[test]
    fn an_answer_sent_back_is_taken_off() {
        let new = format!("{OLD}ain.");
        check(OLD, &new, false, Continues(OLD.len()));
        let spaced = format!("{OLD} \n");
        check(&spaced, OLD, false, Wait);
        check(&spaced, OLD, true, Continues(OLD.len()));
        check(&spaced, &format!("{OLD} "), false, Wait);
        check(&spaced, &format!("{OLD} \n\nNew"), false, Continues(spaced.len()));
        check(&spaced, &format!("{OLD}New"), false, Continues(OLD.len()));
    }

    #[test]
    fn a_short_answer_is_sent_back_only_by_targets_that_do_so() {
        for (first, new, style, expected) in [
            ("The", "The", Prefill::Prefix, Continues(3)),
            ("The", "The", Prefill::Vllm, Continues(0)),
            ("There", "There", Prefill::Prefix, Continues(0)),
            (" mill", " mill", Prefill::Prefix, Continues(0)),
        ] {
            assert_eq!(judge("The", new, first, style, false), expected, "{first:?} {style:?}");
        }
        assert_eq!(judge(" ", " ", " ", Prefill::Prefix, false), Continues(0));
    }

    #[test]
    fn true_continuations_are_hardly_ever_refused() {
        // Prose and program code of our own, as answers of some thousand characters, cut at every seventh.
        for text in [include_str!("../../../ARCHITECTURE.md"), include_str!("../../api/request.rs")] {
            let (mut seams, mut alarms) = (0, 0);
            let letters: Vec<char> = text.chars().collect();
            for answer in letters.chunks(4_000).map(|answer| answer.iter().collect::<String>()) {
                for (at, _) in answer.char_indices().skip(1).step_by(7) {
                    let (old, new) = answer.split_at(at);
                    let new: String = new.chars().take(HELD_CHARS).collect();
                    seams += 1;
                    alarms += u32::from(judge(old, &new, "", Prefill::Vllm, true) != Continues(0));
                }
            }
            assert!(seams > 1_000 && alarms * 200 <= seams, "{alarms} of {seams}");
        }
    }

    #[test]
    fn repetitions_are_known() {
        for (text, expected) in [("", false), ("a", false), ("ab", false), ("aa", true), ("abab", true)] {
            assert_eq!(is_periodic(text.as_bytes()), expected, "{text}");
        }
        assert!(is_periodic(b"abcabca") && !is_periodic(b"abcab") && !is_periodic(b"aabaaa"));
        assert!(goes_on_repeating(b"xabcabc", b"abca") && goes_on_repeating(b"abcabc", b"a"));
        assert!(!goes_on_repeating(b"xabcabc", b"abcb") && !goes_on_repeating(b"abc", b"abc"));
    }

    proptest! {
        #[test]
        fn a_verdict_is_a_place_in_the_text(old in "[ab\u{e4} \n]{0,60}", new in "[ab\u{e4} \n]{0,60}", is_all: bool) {
            for style in [Prefill::Vllm, Prefill::Prefix] {
                match judge(&old, &new, &new, style, is_all) {
                    Continues(bytes) => prop_assert!(new.is_char_boundary(bytes)),
                    Wait => prop_assert!(!is_all),
                    Restarted | Repeated => {}
                }
            }
        }

        #[test]
        fn white_space_at_the_end_is_taken_off_once(space in "[ \n]{0,4}", rest in "[a-z]{40}") {
            let old = format!("{OLD}{space}");
            let expected = Continues(old.len());
            prop_assert_eq!(judge(&old, &format!("{OLD}{space}{rest}"), OLD, Prefill::Prefix, false), expected);
        }
    }
}
