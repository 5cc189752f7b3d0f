//! What is known of a model by its id: the Converse API is one, but models differ in what they take of it (Amazon Bedrock
//! User Guide, "Supported models and model features" and "Structured outputs").

use crate::dialects::conversation::Family;

/// A model by its id, which may be an inference profile's or an ARN. Of an application's own profile nothing is known: it is
/// taken for a recent model that is nobody's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model<'a> {
    id: &'a str,
    /// Claude's version.
    claude: Option<(u32, u32)>,
}

/// The first Claude that decides for itself how long it thinks.
const ADAPTIVE: (u32, u32) = (4, 6);
/// Newer than every Claude whose id says a version.
const NEWEST: (u32, u32) = (u32::MAX, 0);

impl<'a> Model<'a> {
    pub(super) fn of(id: &'a str) -> Self {
        let claude = id.contains("anthropic").then(|| claude_version(id));
        Self { id, claude }
    }

    pub(super) fn family(self) -> Family {
        family(self.id)
    }

    pub(super) fn is_claude(self) -> bool {
        self.claude.is_some()
    }

    pub(super) fn is_nova(self) -> bool {
        self.id.contains("amazon.nova")
    }

    pub(super) fn is_nova_2(self) -> bool {
        self.id.contains("amazon.nova-2")
    }

    pub(super) fn is_gpt_oss(self) -> bool {
        self.id.contains("openai.gpt-oss")
    }

    pub(super) fn is_claude_from(self, version: (u32, u32)) -> bool {
        self.claude.is_some_and(|claude| claude >= version)
    }

    /// Whether it thinks within a budget of tokens.
    pub(super) fn thinks_by_budget(self) -> bool {
        self.is_claude_from((3, 7)) && !self.is_claude_from(ADAPTIVE)
    }

    /// Whether it thinks as it sees fit, guided by a word.
    pub(super) fn thinks_by_effort(self) -> bool {
        self.is_claude_from(ADAPTIVE)
    }

    /// Whether it takes cache points. Others refuse a request that has them.
    pub(super) fn has_cache_points(self) -> bool {
        self.is_claude() || self.is_nova()
    }

    /// Whether it can be told to call a tool.
    pub(super) fn can_be_forced(self) -> bool {
        self.is_claude_from((3, 0)) || self.is_nova() || self.id.contains("mistral-large")
    }

    /// Whether it answers by a schema of its own accord (`outputConfig`), and follows one strictly in tools.
    pub(super) fn has_formats(self) -> bool {
        match self.claude {
            Some(version) => version >= (4, 5),
            None => !OLD.iter().any(|part| self.id.contains(part)),
        }
    }
}

/// Parts of the ids of models that have no structured output.
const OLD: [&str; 14] = [
    "amazon.nova",
    "amazon.titan",
    "meta.llama",
    "cohere.",
    "ai21.",
    "deepseek.r1",
    "writer.",
    "mistral-7b",
    "mixtral",
    "mistral-large-24",
    "mistral-small-24",
    "pixtral",
    "stability.",
    "twelvelabs.",
];

/// Whose signatures a model's are, by its id or by anything that has the id in it.
pub(super) fn family(id: &str) -> Family {
    if id.contains("anthropic") { Family::Anthropic } else { Family::Bedrock }
}

/// From `claude-3-7-sonnet-20250219`, `claude-opus-4-20250514`, `claude-haiku-4-5-20251001`, `claude-v2`.
fn claude_version(id: &str) -> (u32, u32) {
    let Some((_, name)) = id.split_once("claude-") else { return NEWEST };
    let mut numbers = Vec::new();
    for word in name.split(['-', '.', ':', '@']) {
        // Dates are no versions, and what follows one is a revision of the model.
        let number = word.parse::<u32>().ok().filter(|_| word.len() <= 2);
        match (number, word.strip_prefix('v').and_then(|word| word.parse().ok())) {
            (Some(number), _) => numbers.push(number),
            (None, Some(old)) if numbers.is_empty() => return (old, 0),
            _ if numbers.is_empty() && word.parse::<u32>().is_err() => {}
            _ => break,
        }
    }
    match numbers[..] {
        [] => NEWEST,
        [major] => (major, 0),
        [major, minor, ..] => (major, minor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_the_version() {
        for (id, version) in [
            ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", (3, 7)),
            ("anthropic.claude-3-haiku-20240307-v1:0", (3, 0)),
            ("anthropic.claude-opus-4-20250514-v1:0", (4, 0)),
            ("global.anthropic.claude-haiku-4-5-20251001-v1:0", (4, 5)),
            ("us.anthropic.claude-opus-4-6-v1", (4, 6)),
            ("us.anthropic.claude-sonnet-5", (5, 0)),
            ("anthropic.claude-v2:1", (2, 0)),
            ("anthropic.claude-instant-v1", (1, 0)),
            ("us.anthropic.claude-mythos", NEWEST),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                (4, 5),
            ),
        ] {
            assert_eq!(Model::of(id).claude, Some(version), "{id}");
        }
        assert_eq!(Model::of("amazon.nova-2-lite-v1:0").claude, None);
        assert!(!Model::of("us.meta.llama3-3-70b-instruct-v1:0").has_formats());
        assert!(Model::of("google.gemma-3-27b-it").has_formats());
    }
}
