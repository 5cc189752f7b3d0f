//! Proofs that providers put on what their models thought. Each takes back its own alone, so one that travels through
//! another dialect says where it comes from.

/// Before a signature that is not of the dialect in which it stands.
const SEAL: &str = "ms1:";

/// Whose signatures are whose: Claude's are alike on all clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Anthropic's models, wherever they run.
    Anthropic,
    /// Google's models, wherever they run.
    Gemini,
    /// `OpenAI`'s encrypted reasoning.
    OpenAi,
    /// Other models behind Amazon's Converse API.
    Bedrock,
}

impl Family {
    const ALL: [Self; 4] = [Self::Anthropic, Self::Gemini, Self::OpenAi, Self::Bedrock];

    fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::OpenAi => "openai",
            Self::Bedrock => "bedrock",
        }
    }
}

/// A provider's proof, or its encrypted thought, which only it can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Who takes it back.
    pub family: Family,
    /// As the provider gave it.
    pub value: String,
}

impl Signature {
    /// One of this family, as it came from its provider.
    pub fn new(family: Family, value: impl Into<String>) -> Self {
        Self { family, value: value.into() }
    }

    /// Reads what a client brings back in a field that belongs to `own`: a bare text is that family's, a sealed one says
    /// whose it is.
    pub fn read(own: Family, text: &str) -> Self {
        let sealed = text.strip_prefix(SEAL).and_then(|rest| rest.split_once(':'));
        let known = sealed.and_then(|(name, value)| {
            let family = Family::ALL.into_iter().find(|family| family.name() == name)?;
            Some(Self::new(family, value))
        });
        known.unwrap_or_else(|| Self::new(own, text))
    }

    /// How it stands in a field that belongs to `own`.
    pub fn write(&self, own: Family) -> String {
        if self.family == own { self.value.clone() } else { self.sealed() }
    }

    /// How it stands in a field that belongs to nobody.
    pub fn sealed(&self) -> String {
        format!("{SEAL}{}:{}", self.family.name(), self.value)
    }

    /// What a provider of `family` takes back; `None` if it is another one's.
    pub fn of(&self, family: Family) -> Option<&str> {
        (self.family == family).then_some(&*self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_comes_back_to_whom_it_belongs() {
        let gemini = Signature::new(Family::Gemini, "a:b/+=");
        assert_eq!(gemini.write(Family::Gemini), "a:b/+=");
        for own in Family::ALL {
            let back = Signature::read(own, &gemini.write(own));
            assert_eq!(back, gemini);
            assert_eq!(back.of(own).is_some(), own == Family::Gemini);
        }
        assert_eq!(Signature::read(Family::OpenAi, "ms1:nobody:x").family, Family::OpenAi);
    }
}
