//! How many tokens a prompt has, about, for targets that can't be asked.
//!
//! Tokenizers differ, and a client that counts wants to know whether its prompt fits: so every figure here is a bit on the
//! high side. Texts are counted by their characters: how many of them make a token depends on the script, because
//! tokenizers know long pieces of English and short ones of most others. Everything else has a fixed price, or one by its
//! bytes, taken from what the providers' documentation says of images, documents and sounds.

use serde_json::Value;

use super::conversation::{Content, Format, Media, Message, Part, Request, Source, Tool};

/// Units of a token's share that a character is worth: fine enough for whole numbers.
const UNITS_PER_TOKEN: u64 = 100;
/// Who speaks, and the marks around it.
const MESSAGE_TOKENS: u64 = 6;
/// What a provider tells the model of calling tools at all: Anthropic documents up to 346 tokens, and it has the most.
const TOOLS_TOKENS: u64 = 350;
/// The marks around one tool, one call, or one result.
const TOOL_TOKENS: u64 = 12;
/// A picture: Anthropic scales down to about this, others ask for less.
const IMAGE_TOKENS: u64 = 1600;
/// A picture that is to be looked at only roughly (`OpenAI`, images and vision).
const LOW_IMAGE_TOKENS: u64 = 85;
/// A page of a document, as text and as a picture (Anthropic, PDF support).
const PAGE_TOKENS: u64 = 3000;
/// Bytes of a page of a document, of those that have few.
const PAGE_BYTES: u64 = 40_000;
/// Pages of a document of which only the address is known.
const UNKNOWN_PAGES: u64 = 4;
/// Bytes of sound or moving pictures for each token: 32 tokens a second of sound (Gemini, audio understanding), at the
/// least that a second takes when it is compressed well.
const SOUND_BYTES_PER_TOKEN: u64 = 250;
/// What is left for a sound or moving picture of which only the address is known.
const UNKNOWN_SOUND_TOKENS: u64 = 2000;

/// About how many tokens `request` has.
pub fn estimate(request: &Request) -> u64 {
    let messages: u64 = request.messages.iter().map(message).sum();
    let tools: u64 = request.tools.iter().map(tool).sum();
    let preamble = if request.tools.is_empty() { 0 } else { TOOLS_TOKENS };
    let form = match &request.format {
        Some(Format::JsonSchema { schema, .. }) => json(schema),
        Some(Format::JsonObject) | None => 0,
    };
    messages + tools + preamble + form
}

fn message(message: &Message) -> u64 {
    MESSAGE_TOKENS + parts(&message.parts)
}

fn parts(parts: &[Part]) -> u64 {
    parts.iter().map(|part| content(&part.content)).sum()
}

fn content(content: &Content) -> u64 {
    match content {
        Content::Text { text: said, .. } | Content::Refusal(said) => text(said),
        Content::Media(thing) => media(thing),
        Content::Reasoning(thought) => {
            // Encrypted, a thought has about as many bytes in base64 as three of its tokens' characters.
            let hidden = thought.redacted.as_ref().map_or(0, |hidden| length(&hidden.value) / 4);
            text(&thought.text) + hidden
        }
        Content::ToolCall(call) => TOOL_TOKENS + text(&call.name) + text(&call.arguments),
        Content::ToolResult(result) => TOOL_TOKENS + parts(&result.parts),
        Content::Foreign { value, .. } => json(value),
    }
}

fn tool(tool: &Tool) -> u64 {
    let description = tool.description.as_deref().map_or(0, text);
    TOOL_TOKENS + text(&tool.name) + description + tool.schema.as_ref().map_or(0, json)
}

fn media(media: &Media) -> u64 {
    let bytes = match &media.source {
        Source::Text(said) => return text(said),
        Source::Base64(encoded) => Some(length(encoded) / 4 * 3),
        Source::Url(_) | Source::Id(_) => None,
    };
    let is_image = media.media_type.as_deref().is_some_and(|kind| kind.starts_with("image/"));
    match media.kind {
        _ if is_image && media.kind != "image" => IMAGE_TOKENS,
        "image" if media.detail.as_deref() == Some("low") => LOW_IMAGE_TOKENS,
        "image" => IMAGE_TOKENS,
        "audio" | "video" => bytes.map_or(UNKNOWN_SOUND_TOKENS, |bytes| bytes / SOUND_BYTES_PER_TOKEN),
        _ => PAGE_TOKENS * bytes.map_or(UNKNOWN_PAGES, |bytes| bytes.div_ceil(PAGE_BYTES).max(1)),
    }
}

fn json(value: &Value) -> u64 {
    text(&value.to_string())
}

fn text(text: &str) -> u64 {
    text.chars().map(units).sum::<u64>().div_ceil(UNITS_PER_TOKEN)
}

/// What a character is worth, by its script.
fn units(c: char) -> u64 {
    match c {
        'a'..='z' | 'A'..='Z' | ' ' => 30,
        '0'..='9' => 70,
        '\0'..='\x7f' => 80,
        // Scripts of which a token holds two or three letters: Latin with marks, Greek, Cyrillic, Hebrew, Arabic.
        '\u{80}'..='\u{7ff}' => 60,
        // Those of India and the south-east, and the rest below the ideographs.
        '\u{800}'..='\u{2e7f}' => 100,
        // Ideographs, kana and hangul.
        '\u{2e80}'..='\u{ffff}' => 140,
        _ => 250,
    }
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialects::conversation::Role;

    fn of(content: Content) -> u64 {
        let message = Message { role: Role::User, parts: vec![Part::new(content)], name: None };
        estimate(&Request { messages: vec![message], ..Request::default() })
    }

    fn of_text(text: &str) -> u64 {
        of(Content::Text { text: text.to_owned(), annotations: Vec::new() }) - MESSAGE_TOKENS
    }

    #[test]
    fn texts_are_a_bit_more_than_tokenizers_say() {
        // With what OpenAI's o200k vocabulary says of them.
        for (text, known) in [
            ("The quick brown fox jumps over the lazy dog.", 10),
            ("fn main() { let x: Vec<u8> = vec![1, 2, 3]; }", 23),
            ("Быстрая коричневая лиса перепрыгивает через ленивую собаку.", 20),
            ("敏捷的棕色狐狸跳过了懒狗。", 14),
            ("素早い茶色の狐が怠け者の犬を飛び越えます。", 21),
            ("1234567890 3.14159 2026-11-26", 16),
            ("", 0),
        ] {
            let tokens = of_text(text);
            assert!((known..=known * 2).contains(&tokens), "{text}: {tokens}");
        }
    }

    #[test]
    fn everything_else_has_its_price() {
        let image = |detail: Option<&str>| {
            let media = Media::new("image", None, Source::Url("https://a.example/".into()));
            of(Content::Media(Media { detail: detail.map(str::to_owned), ..media }))
        };
        assert_eq!(image(None), MESSAGE_TOKENS + IMAGE_TOKENS);
        assert_eq!(image(Some("low")), MESSAGE_TOKENS + LOW_IMAGE_TOKENS);
        let document = Media::new("file", None, Source::Base64("A".repeat(400_000)));
        assert_eq!(of(Content::Media(document)), MESSAGE_TOKENS + 8 * PAGE_TOKENS);
        let tool = Tool {
            name: "add".into(),
            description: None,
            schema: Some(json!({"type": "object"})),
            strict: None,
            cache: None,
        };
        let tokens = estimate(&Request { tools: vec![tool], ..Request::default() });
        assert!(tokens > TOOLS_TOKENS + TOOL_TOKENS, "{tokens}");
    }
}
