//! Encrypted reasoning and the id of the item that it belongs to.
//!
//! `OpenAI` verifies the one against the other, and Azure refuses the first without the second. Other dialects have room
//! for one text only, so both travel in it. Their letters are those of base64, `_` and `-`.

use crate::dialects::conversation::{Family, Reasoning, Signature};

const BETWEEN: char = '|';

/// Before a sealed signature that belongs to the call in the next item, which has no room for it.
const OF_CALL: &str = "msc1:";

/// The signature of encrypted reasoning.
pub(super) fn seal(id: Option<&str>, encrypted: &str) -> Signature {
    match id {
        Some(id) => Signature::new(Family::OpenAi, format!("{id}{BETWEEN}{encrypted}")),
        None => Signature::new(Family::OpenAi, encrypted),
    }
}

/// The id, if it is known, and the encrypted reasoning.
pub(super) fn unseal(value: &str) -> (Option<&str>, &str) {
    match value.split_once(BETWEEN) {
        Some((id, encrypted)) => (Some(id), encrypted),
        None => (None, value),
    }
}

/// Reads what a client brings back.
pub(super) fn read(id: Option<&str>, encrypted: &str) -> Signature {
    let signature = Signature::read(Family::OpenAi, encrypted);
    match signature.of(Family::OpenAi).map(unseal) {
        Some((None, encrypted)) => seal(id, encrypted),
        _ => signature,
    }
}

/// How a signature stands in an item of this id.
pub(super) fn write(signature: &Signature, id: &str) -> String {
    match signature.of(Family::OpenAi).map(unseal) {
        Some((Some(own), encrypted)) if own == id => encrypted.to_owned(),
        _ => signature.write(Family::OpenAi),
    }
}

/// How the signature of a call stands in an item before it.
pub(super) fn write_of_call(signature: &Signature) -> String {
    format!("{OF_CALL}{}", signature.sealed())
}

/// The signature of a call, if it is one.
pub(super) fn read_of_call(encrypted: &str) -> Option<Signature> {
    encrypted.strip_prefix(OF_CALL).map(|sealed| Signature::read(Family::OpenAi, sealed))
}

/// A thought: what proves it stands in place of a text that nobody has shown.
pub(super) fn thought(id: Option<&str>, text: String, proof: Option<Signature>) -> Reasoning {
    let (signature, redacted) = if text.is_empty() { (None, proof) } else { (proof, None) };
    Reasoning { text, signature, redacted, id: id.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_travels_with_what_it_proves() {
        let sealed = seal(Some("rs_1"), "gAAA+/=");
        assert_eq!(write(&sealed, "rs_1"), "gAAA+/=");
        assert_eq!(read(Some("rs_1"), "gAAA+/="), sealed);
        assert_eq!(write(&sealed, "rs_other"), "rs_1|gAAA+/=");
        assert_eq!(read(Some("rs_other"), "rs_1|gAAA+/="), sealed);
        assert_eq!(unseal(&sealed.value), (Some("rs_1"), "gAAA+/="));
    }

    #[test]
    fn anothers_signature_comes_back_as_it_was() {
        let gemini = Signature::new(Family::Gemini, "a|b");
        assert_eq!(read(Some("rs_1"), &write(&gemini, "rs_1")), gemini);
        assert_eq!(read_of_call(&write_of_call(&gemini)), Some(gemini));
        assert_eq!(read_of_call("gAAA"), None);
    }
}
