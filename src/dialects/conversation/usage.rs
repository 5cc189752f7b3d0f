//! What an answer cost.

/// Tokens, as the provider reports them. Each is a part of the total that names it, never beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All that was read, cached ones included.
    pub input: u64,
    /// Of these: from the cache.
    pub cache_read: Option<u64>,
    /// Of these: put into the cache.
    pub cache_write: Option<u64>,
    /// Of `cache_write`: for an hour rather than minutes.
    pub cache_write_1h: Option<u64>,
    /// Of the input: sound.
    pub input_audio: Option<u64>,
    /// All that was written, reasoning included.
    pub output: u64,
    /// Of these: thought.
    pub reasoning: Option<u64>,
    /// Of the output: sound.
    pub output_audio: Option<u64>,
    /// Predicted tokens that were right, and that were not.
    pub predicted: Option<(u64, u64)>,
}
