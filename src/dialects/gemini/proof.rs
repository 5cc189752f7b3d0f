//! What stands in a part's `thoughtSignature`.
//!
//! Gemini's own signatures stand there as they are: base64, in either alphabet, for the SDKs decode and encode it again. What
//! other providers prove stands there as base64 of a small object, because the SDKs refuse what is not base64.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};

use crate::dialects::conversation::{Family, Reasoning, Signature};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// The one member that says that it is ours.
const MARK: &str = "ms1";

/// What proves a thought, for a Gemini client; `None` if there is nothing but its text.
pub(super) fn write(reasoning: &Reasoning) -> Option<String> {
    match (&reasoning.signature, &reasoning.redacted, &reasoning.id) {
        (None, None, None) => None,
        (Some(signature), None, None) if signature.family == Family::Gemini => Some(signature.value.clone()),
        (signature, redacted, id) => {
            let sealed = |proof: &Option<Signature>| proof.as_ref().map(Signature::sealed);
            let all = json!({ MARK: { "signature": sealed(signature), "redacted": sealed(redacted), "id": id } });
            Some(STANDARD.encode(all.to_string()))
        }
    }
}

/// The same for one signature.
pub(super) fn write_one(signature: &Signature) -> String {
    write(&Reasoning { signature: Some(signature.clone()), ..Reasoning::default() })
        .unwrap_or_else(|| signature.value.clone())
}

/// Reads what `write` wrote, or Gemini's own. The text is left empty.
pub(super) fn read(text: &str) -> Reasoning {
    let own = || Reasoning { signature: Some(Signature::new(Family::Gemini, text)), ..Reasoning::default() };
    // Everything of ours begins with `{"ms1"`.
    if !text.starts_with("eyJtczEi") {
        return own();
    }
    let standard: String = text
        .chars()
        .map(|c| {
            if c == '-' {
                '+'
            } else if c == '_' {
                '/'
            } else {
                c
            }
        })
        .collect();
    let decoded = STANDARD.decode(standard).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(all) = decoded.as_ref().and_then(|all| all.get(MARK)) else { return own() };
    let member = |name: &str| all.get(name).and_then(Value::as_str);
    let proof = |name: &str| member(name).map(|sealed| Signature::read(Family::Gemini, sealed));
    Reasoning {
        text: String::new(),
        signature: proof("signature"),
        redacted: proof("redacted"),
        id: member("id").map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_comes_back_and_is_base64() {
        let sign = |family| Some(Signature::new(family, "ab?>~+/="));
        for reasoning in [
            Reasoning { signature: sign(Family::Anthropic), ..Reasoning::default() },
            Reasoning { redacted: sign(Family::Anthropic), ..Reasoning::default() },
            Reasoning { redacted: sign(Family::OpenAi), id: Some("rs_1".into()), ..Reasoning::default() },
            Reasoning { id: Some("rs_ÿÿ~~?>".into()), ..Reasoning::default() },
        ] {
            let text = write(&reasoning).expect("there is a proof");
            assert!(STANDARD.decode(&text).is_ok());
            assert_eq!(read(&text), reasoning);
            // The SDKs send it back in the other alphabet.
            let other = text.replace('+', "-").replace('/', "_");
            assert_eq!(read(&other), reasoning);
            assert_eq!(read(other.trim_end_matches('=')), reasoning);
        }
        let own = Reasoning { signature: Some(Signature::new(Family::Gemini, "Eqo+/=")), ..Reasoning::default() };
        assert_eq!(write(&own).as_deref(), Some("Eqo+/="));
        assert_eq!(read("Eqo+/="), own);
        assert_eq!(read("eyJtczEi!!").signature.expect("taken for Gemini's").value, "eyJtczEi!!");
    }
}
