//! What the API's rules about models are, where they differ from one Claude to the next. Sources: Anthropic's models
//! overview (most output), its pages on thinking, effort and structured outputs, and its guides of migration.

use crate::dialects::conversation::Effort;

/// Tokens of an answer where neither the client nor the model says how many: what every model of the last years takes.
const DEFAULT_MAX_TOKENS: u64 = 8192;

/// A model, by what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model {
    line: Line,
    /// (0, 0) for names that are no Claude's: servers with this dialect have other models too.
    version: (u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Haiku,
    Sonnet,
    Opus,
    /// Fable and Mythos, which never stop thinking.
    Top,
    Other,
}

impl Model {
    /// Reads names of all clouds: `claude-3-5-haiku-20241022`, `us.anthropic.claude-opus-4-6-v1`,
    /// `claude-sonnet-4-5@20250929`, `anthropic/claude-opus-4.6`.
    pub(super) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let (mut line, mut numbers) = (Line::Other, Vec::new());
        let Some((_, rest)) = name.split_once("claude-") else { return Self { line, version: (0, 0) } };
        for word in rest.split(['-', '.', '@', ':', '/', '_']) {
            match word {
                "haiku" => line = Line::Haiku,
                "sonnet" => line = Line::Sonnet,
                "opus" => line = Line::Opus,
                "fable" | "mythos" => line = Line::Top,
                _ => match word.parse() {
                    Ok(number) if word.len() <= 2 && numbers.len() < 2 => numbers.push(number),
                    // A date: what follows counts revisions.
                    Ok(_) => break,
                    Err(_) => {}
                },
            }
        }
        let version = match (&*numbers, line) {
            (&[major, minor, ..], _) => (major, minor),
            (&[major], _) => (major, 0),
            // The first Mythos has a word in place of a number.
            (_, Line::Top) => (5, 0),
            _ => (0, 0),
        };
        Self { line, version }
    }

    fn is_known(self) -> bool {
        self.version >= (1, 0)
    }

    /// Tokens of an answer for a client that does not say how many. Before version 4.5 a prompt and this number together
    /// must fit into the window, so it is not the most there.
    pub(super) fn default_max_tokens(self) -> u64 {
        match self.version {
            (0, _) | (3, 5..=6) => DEFAULT_MAX_TOKENS,
            (..=2, _) | (3, 0..=4) => 4096,
            (3, _) | (4, ..=4) => 32_000,
            _ => 64_000,
        }
    }

    /// The most tokens that an answer may have, where that is known: the API refuses a request for more.
    pub(super) fn most_tokens(self) -> Option<u64> {
        let most = match self.version {
            (0, _) => return None,
            (..=2, _) | (3, 0..=4) => 4096,
            (3, 5..=6) => 8192,
            (4, ..=4) if self.line == Line::Opus => 32_000,
            (3, _) | (4, ..=5) => 64_000,
            _ => 128_000,
        };
        Some(most)
    }

    /// Whether it can think at all. Unknown ones are asked to as the oldest are.
    pub(super) fn thinks(self) -> bool {
        !self.is_known() || self.version >= (3, 7)
    }

    /// `thinking.type: adaptive`.
    pub(super) fn is_adaptive(self) -> bool {
        self.version >= (4, 6)
    }

    /// Whether it thinks unless it is told not to.
    pub(super) fn thinks_by_itself(self) -> bool {
        self.version >= (5, 0)
    }

    /// `thinking.type: disabled` is refused, and so is every other way.
    pub(super) fn always_thinks(self) -> bool {
        self.line == Line::Top || (self.line == Line::Opus && self.version >= (5, 5))
    }

    /// What stands for "no thought" where it is not `disabled`.
    pub(super) fn stops_between_tools(self) -> bool {
        self.line == Line::Sonnet && self.version >= (5, 5)
    }

    /// Its word for an effort, in `output_config.effort`; `None` where it has none.
    pub(super) fn effort(self, effort: Effort) -> Option<&'static str> {
        let has_max = self.is_adaptive();
        let has_words = has_max || (self.line == Line::Opus && self.version == (4, 5));
        if !has_words {
            return None;
        }
        Some(match effort {
            Effort::None | Effort::Minimal | Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::XHigh if self.version >= (4, 7) => "xhigh",
            Effort::XHigh | Effort::Max if has_max => "max",
            Effort::High | Effort::XHigh | Effort::Max => "high",
        })
    }

    /// `temperature`, `top_p` and `top_k` are refused.
    pub(super) fn has_no_sampling(self) -> bool {
        self.version >= (4, 7)
    }

    /// `temperature` and `top_p` are refused together.
    pub(super) fn takes_one_sampling(self) -> bool {
        self.version >= (4, 1)
    }

    /// `output_config.format` and strict tools.
    pub(super) fn has_structured_output(self) -> bool {
        self.version >= (4, 5) || (self.line == Line::Opus && self.version == (4, 1))
    }

    /// `tool_choice` may be `any` or `tool`.
    pub(super) fn can_be_forced(self) -> bool {
        self.version < (5, 1) || self.line == Line::Haiku
    }

    /// An answer may be begun by the client.
    pub(super) fn takes_prefill(self) -> bool {
        self.version < (4, 6)
    }

    /// Instructions may stand among the messages (Anthropic's page on system messages within a conversation). Sonnet 5
    /// takes them without following them.
    pub(super) fn has_later_instructions(self) -> bool {
        self.version >= (4, 8) && !(self.line == Line::Sonnet && self.version < (5, 5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_clouds_are_read() {
        for (name, line, version) in [
            ("claude-3-haiku-20240307", Line::Haiku, (3, 0)),
            ("claude-3-5-sonnet-v2@20241022", Line::Sonnet, (3, 5)),
            ("claude-opus-4-20250514", Line::Opus, (4, 0)),
            ("claude-4-opus-20250514", Line::Opus, (4, 0)),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Line::Sonnet, (4, 5)),
            ("anthropic/claude-opus-4.6", Line::Opus, (4, 6)),
            ("Claude-Haiku-5-5", Line::Haiku, (5, 5)),
            ("claude-mythos-preview", Line::Top, (5, 0)),
            ("claude-2.1", Line::Other, (2, 1)),
            ("kimi-k2", Line::Other, (0, 0)),
        ] {
            assert_eq!(Model::of(name), Model { line, version }, "{name}");
        }
    }

    #[test]
    fn no_default_is_above_the_most() {
        for name in [
            "claude-2.1",
            "claude-3-opus-20240229",
            "claude-3-5-haiku-latest",
            "claude-3-7-sonnet-latest",
            "claude-opus-4-1",
            "claude-sonnet-4-0",
            "claude-haiku-4-5",
            "claude-opus-4-8",
            "claude-sonnet-7",
        ] {
            let model = Model::of(name);
            assert!(model.most_tokens().is_some_and(|most| model.default_max_tokens() <= most), "{name}");
        }
        assert_eq!(Model::of("glm").default_max_tokens(), 8192);
    }

    #[test]
    fn efforts_are_those_that_the_model_has() {
        for (name, effort, word) in [
            ("claude-opus-4-8", Effort::XHigh, Some("xhigh")),
            ("claude-opus-4-6", Effort::XHigh, Some("max")),
            ("claude-opus-4-5", Effort::Max, Some("high")),
            ("claude-sonnet-4-5", Effort::High, None),
            ("claude-haiku-5-5", Effort::Minimal, Some("low")),
        ] {
            assert_eq!(Model::of(name).effort(effort), word, "{name}");
        }
    }
}
