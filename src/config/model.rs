//! What models can: `[[models]]` and what is known of the usual ones.

use std::fmt;
use std::sync::Arc;

use super::pattern::Pattern;
use super::raw::{Table, Value};
use super::{Route, Upstream, check, check_keys, defaults};

/// Something that a model can or cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Calls of tools.
    Tools,
    /// Pictures in requests.
    Vision,
    /// Sound in requests.
    Audio,
    /// PDF documents in requests.
    Documents,
    /// Thinks before it answers.
    Reasoning,
    /// Answers by a JSON Schema.
    StructuredOutput,
    /// Texts to vectors, instead of answers.
    Embeddings,
}

use Capability::{Audio, Documents, Embeddings, Reasoning, StructuredOutput, Tools, Vision};

impl Capability {
    /// Each, by its name in the file and in the list of models.
    pub const ALL: [(&'static str, Self); 7] = [
        ("tools", Tools),
        ("vision", Vision),
        ("audio", Audio),
        ("documents", Documents),
        ("reasoning", Reasoning),
        ("structured_output", StructuredOutput),
        ("embeddings", Embeddings),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// What is known of a model. `None` is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Tokens of prompt and answer together.
    pub context: Option<u64>,
    /// Tokens of an answer.
    pub output: Option<u64>,
    /// What it can, in the order of [`Capability::ALL`].
    pub capabilities: Option<Vec<Capability>>,
}

/// `[[models]]`
#[derive(Clone, Debug)]
pub struct Model {
    /// A glob of names, as upstreams know them.
    pub name: String,
    pattern: Pattern,
    /// What the file says.
    pub facts: Facts,
}

/// Globs, and what is known of the models: context, output, capabilities. From the providers' own pages (November 2026);
/// the first that matches counts.
const KNOWN: [(&str, u64, u64, &[Capability]); 29] = [
    ("*gpt-5*", 400_000, 128_000, &[Tools, Vision, Documents, Reasoning, StructuredOutput]),
    ("*gpt-4.1*", 1_047_576, 32_768, &[Tools, Vision, Documents, StructuredOutput]),
    ("*gpt-4o*", 128_000, 16_384, &[Tools, Vision, Documents, StructuredOutput]),
    ("*gpt-oss*", 131_072, 131_072, &[Tools, Reasoning, StructuredOutput]),
    ("*o3*", 200_000, 100_000, &[Tools, Vision, Documents, Reasoning, StructuredOutput]),
    ("*o4-mini*", 200_000, 100_000, &[Tools, Vision, Documents, Reasoning, StructuredOutput]),
    ("*text-embedding-3*", 8_191, 0, &[Embeddings]),
    ("*claude-opus-4-5*", 200_000, 64_000, &[Tools, Vision, Documents, Reasoning, StructuredOutput]),
    ("*claude-opus-4-1*", 200_000, 32_000, &[Tools, Vision, Documents, Reasoning, StructuredOutput]),
    ("*claude-opus-4*", 200_000, 32_000, &[Tools, Vision, Documents, Reasoning]),
    ("*claude-sonnet-4-5*", 200_000, 64_000, &[Tools, Vision, Documents, Reasoning, StructuredOutput]),
    ("*claude-sonnet-4*", 200_000, 64_000, &[Tools, Vision, Documents, Reasoning]),
    ("*claude-haiku-4-5*", 200_000, 64_000, &[Tools, Vision, Documents, Reasoning, StructuredOutput]),
    ("*claude-3-7-sonnet*", 200_000, 64_000, &[Tools, Vision, Documents, Reasoning]),
    ("*claude-3-5-*", 200_000, 8_192, &[Tools, Vision, Documents]),
    ("*claude-3-*", 200_000, 4_096, &[Tools, Vision]),
    ("*gemini-3*", 1_048_576, 65_536, &[Tools, Vision, Audio, Documents, Reasoning, StructuredOutput]),
    ("*gemini-2.5-*", 1_048_576, 65_536, &[Tools, Vision, Audio, Documents, Reasoning, StructuredOutput]),
    ("*gemini-2.0-flash*", 1_048_576, 8_192, &[Tools, Vision, Audio, Documents, StructuredOutput]),
    ("*gemini-embedding*", 2_048, 0, &[Embeddings]),
    ("*command-a-*", 256_000, 8_192, &[Tools, StructuredOutput]),
    ("*command-r*", 128_000, 4_096, &[Tools, StructuredOutput]),
    ("*embed-v4*", 128_000, 0, &[Embeddings]),
    ("*deepseek-reasoner*", 128_000, 64_000, &[Tools, Reasoning]),
    ("*deepseek-chat*", 128_000, 8_192, &[Tools]),
    ("*grok-4*", 256_000, 256_000, &[Tools, Vision, Reasoning, StructuredOutput]),
    ("*mistral-large*", 128_000, 128_000, &[Tools, Vision, StructuredOutput]),
    ("*llama-3.3-70b*", 131_072, 131_072, &[Tools, StructuredOutput]),
    ("*llama-4-*", 131_072, 131_072, &[Tools, Vision, StructuredOutput]),
];

/// Every entry of `[[models]]`.
pub(super) fn models(root: &mut Table<'_>) -> Vec<Model> {
    check::bounded(root, "models").into_iter().filter_map(|mut table| model(&mut table)).collect()
}

fn model(table: &mut Table<'_>) -> Option<Model> {
    let name = table.require("name", "\"qwen3-*\"").and_then(|value| check_keys::model(&value));
    let tokens = |value: Option<Value<'_>>| value.and_then(|value| value.whole(1, defaults::MODEL_TOKENS_MOST));
    let facts = Facts {
        context: tokens(table.take("context")),
        output: tokens(table.take("output")),
        capabilities: table.take("capabilities").map(|value| capabilities(&value)),
    };
    let name = name?;
    Some(Model { pattern: Pattern::new(&name), name, facts })
}

fn capabilities(value: &Value<'_>) -> Vec<Capability> {
    let elements = value.elements();
    let mut found: Vec<Capability> =
        elements.iter().filter_map(|element| element.choice(&Capability::ALL)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What is known of a model, as an upstream names it: what the file says, and beyond that what is known of the usual ones.
pub(super) fn facts(models: &[Model], name: &str) -> Facts {
    let written = models.iter().find(|model| model.pattern.matches(name)).map(|model| model.facts.clone());
    let written = written.unwrap_or_default();
    let known = KNOWN.iter().find(|(glob, ..)| Pattern::new(glob).matches(name));
    let Some((_, context, output, can)) = known else { return written };
    Facts {
        context: written.context.or(Some(*context)),
        output: written.output.or_else(|| Some(*output).filter(|output| *output > 0)),
        capabilities: written.capabilities.or_else(|| Some(can.to_vec())),
    }
}

/// What every target of a route has, as far as that is known of each: the model that a client may rely on.
pub(super) fn of_route(models: &[Model], route: &Route, asked: &str) -> Facts {
    let mut all = targets(models, route, asked).map(|(_, facts)| facts);
    let Some(first) = all.next() else { return Facts::default() };
    all.fold(first, |one, two| Facts {
        context: one.context.zip(two.context).map(|(one, two)| one.min(two)),
        output: one.output.zip(two.output).map(|(one, two)| one.min(two)),
        capabilities: one
            .capabilities
            .zip(two.capabilities)
            .map(|(one, two)| one.into_iter().filter(|capability| two.contains(capability)).collect()),
    })
}

fn targets<'a>(
    models: &'a [Model],
    route: &'a Route,
    asked: &'a str,
) -> impl Iterator<Item = (&'a super::Target, Facts)> {
    let named = move |target: &'a super::Target| target.model.as_deref().unwrap_or(asked);
    route.tiers.iter().flatten().map(move |target| (target, facts(models, named(target))))
}

/// Where the targets of one route differ in what they can: a request may succeed at one and fail at the other.
pub(super) fn differences(models: &[Model], routes: &[Arc<Route>], upstreams: &[Upstream]) -> Vec<String> {
    let mut differences = Vec::new();
    for route in routes {
        let targets: Vec<_> = targets(models, route, &route.model).collect();
        for (at, (target, facts)) in targets.iter().enumerate() {
            let Some((first, of_first)) = targets.first().filter(|_| at > 0) else { continue };
            let what = Difference(of_first, facts).to_string();
            if !what.is_empty() {
                let name = |target: &super::Target| &upstreams[target.upstream].name;
                let (one, two) = (name(first), name(target));
                differences.push(format!("route {:?}: targets {one:?} and {two:?} differ: {what}", route.model));
            }
        }
    }
    differences
}

/// In what two models differ, as far as both are known.
struct Difference<'a>(&'a Facts, &'a Facts);

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(one, two) = self;
        let mut parts = Vec::new();
        for (name, one, two) in [("context", one.context, two.context), ("output", one.output, two.output)] {
            if let Some((one, two)) = one.zip(two).filter(|(one, two)| one != two) {
                parts.push(format!("{name} {one} and {two}"));
            }
        }
        if let (Some(one), Some(two)) = (&one.capabilities, &two.capabilities) {
            for (name, capability) in Capability::ALL {
                match (one.contains(&capability), two.contains(&capability)) {
                    (true, false) => parts.push(format!("the second has no {name}")),
                    (false, true) => parts.push(format!("the first has no {name}")),
                    _ => {}
                }
            }
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{accept, refuse_after_minimal};

    #[test]
    fn the_file_goes_before_what_is_known() {
        let config = accept(
            "[[upstreams]]\nname = \"u\"\nbase_url = \"http://h\"\n[[models]]\nname = \"my-gpt-5\"\ncontext = 1000\n\
             capabilities = [\"vision\", \"tools\", \"tools\"]\n[[models]]\nname = \"qwen*\"\noutput = 5",
        );
        let mine = config.facts("my-gpt-5");
        assert_eq!((mine.context, mine.output), (Some(1000), Some(128_000)));
        assert_eq!(mine.capabilities, Some(vec![Tools, Vision]));
        assert_eq!(config.facts("qwen3"), Facts { output: Some(5), ..Facts::default() });
        assert_eq!(config.facts("us.anthropic.claude-sonnet-4-5-20250929-v1:0").output, Some(64_000));
        assert_eq!(config.facts("nobody"), Facts::default());
    }

    #[test]
    fn a_route_has_what_all_of_its_targets_have_and_differences_are_told() {
        let config = accept(
            "[[upstreams]]\nname = \"u\"\nbase_url = \"http://h\"\n[[upstreams]]\nname = \"c\"\nkind = \"anthropic\"\n\
             [[routes]]\nmodel = \"best\"\ntargets = [{ upstream = \"u\", model = \"gpt-4.1\" }, \
             { upstream = \"c\", model = \"claude-opus-4-20250514\" }]\n\
             [[routes]]\nmodel = \"gpt-4o\"\ntargets = [\"u\", { upstream = \"u\", model = \"mystery\" }]",
        );
        let facts = config.facts_of(&config.routes[0], "best");
        assert_eq!((facts.context, facts.output), (Some(200_000), Some(32_000)));
        assert_eq!(facts.capabilities, Some(vec![Tools, Vision, Documents]));
        assert_eq!(
            config.differences(),
            [
                "route \"best\": targets \"u\" and \"c\" differ: context 1047576 and 200000, output 32768 and 32000, \
                 the first has no reasoning, the second has no structured_output"
            ]
        );
        assert_eq!(config.facts_of(&config.routes[1], "gpt-4o"), Facts::default());
    }

    #[test]
    fn what_is_no_capability_is_told() {
        refuse_after_minimal(
            "[[models]]\nname = \"x\"\ncontext = 0\ncapabilities = [\"flying\"]",
            &[
                "config.toml:6:11: models[0].context = 0: not a whole number in bounds; write 1 to 100000000",
                "config.toml:7:17: models[0].capabilities[0] = \"flying\": not one of the choices; write \"tools\" or \
                 \"vision\" or \"audio\" or \"documents\" or \"reasoning\" or \"structured_output\" or \"embeddings\"",
            ],
        );
    }
}
