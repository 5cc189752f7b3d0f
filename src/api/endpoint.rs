//! The surfaces that Millstream serves: method and path to [`Endpoint`].

/// Where a request's model name is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelField {
    /// The `model` field of a JSON body.
    Json,
    /// The `model` part of a `multipart/form-data` body.
    Form,
    /// Nowhere: the request goes to the default upstream.
    None,
}

/// How the end of a stream is recognised (`FAULTS`: a clean end without evidence is a truncation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `data: [DONE]` or a finish reason for every choice (chat completions, completions).
    Chat,
    /// A terminal event: `response.completed`, `.failed`, `.incomplete`, or an `error` event (Responses API).
    Responses,
    /// The end of the transfer itself.
    Transfer,
}

/// One served surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses`
    Responses,
    /// `GET|DELETE /v1/responses/{id}`, `POST /v1/responses/{id}/cancel`, `GET /v1/responses/{id}/input_items`
    ResponsesItem,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `GET /v1/models`, answered from the routes.
    Models,
    /// `GET /v1/models/{id}`, answered from the routes.
    Model,
    /// `POST /v1/moderations`
    Moderations,
    /// `POST /v1/images/generations`
    ImageGenerations,
    /// `POST /v1/images/{edits,variations}` (multipart)
    ImageForms,
    /// `POST /v1/audio/speech`
    AudioSpeech,
    /// `POST /v1/audio/{transcriptions,translations}` (multipart)
    AudioForms,
    /// `POST /v1/rerank`
    Rerank,
    /// `/v1/files` and below
    Files,
    /// `/v1/batches` and below
    Batches,
}
