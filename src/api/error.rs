//! The one table from [`Kind`] to what a client is told: status, `type`, `code` and text, in OpenAI's form.
