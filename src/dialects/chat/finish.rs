//! Why an answer ends, in the words of this dialect and of the servers that have their own.

use crate::dialects::conversation::{Failure, FailureKind, Finish};

/// Reads a `finish_reason`; a failure where the provider broke off by its own word.
pub(super) fn read(word: &str, has_calls: bool) -> Result<Finish, Failure> {
    Ok(match word {
        // A call that was demanded ends with `stop` ("Function calling, forcing a function").
        "stop" | "tool_calls" | "function_call" | "tool_use" if has_calls => Finish::ToolCalls,
        "stop" | "eos" | "end_turn" | "tool_calls" | "function_call" => Finish::Stop,
        "stop_sequence" => Finish::StopSequence(None),
        "length" | "max_tokens" => Finish::Length,
        // Mistral's word for a full window.
        "model_length" => Finish::Window,
        "content_filter" => Finish::ContentFilter,
        "refusal" => Finish::Refusal,
        "error" => return Err(Failure::new(502, "The provider broke off the answer.")),
        // DeepSeek: the request was interrupted for want of machines.
        "insufficient_system_resource" => {
            let message = "The provider broke off the answer for want of resources.";
            return Err(Failure {
                kind: FailureKind::Overloaded,
                code: Some(word.to_owned()),
                ..Failure::new(503, message)
            });
        }
        word => Finish::Other(word.to_owned()),
    })
}

/// The word for it. Strict clients fail over one that `OpenAI` does not have.
pub(crate) fn word(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) | Finish::Pause | Finish::Other(_) => "stop",
        Finish::Length | Finish::Window => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter | Finish::Refusal => "content_filter",
    }
}
