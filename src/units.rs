//! Newtypes that every room may use: small indices into the configuration, so that no name is cloned or
//! hashed on the path of a request.

use std::fmt;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u16);

        impl $name {
            /// The index of the entry at `position` in its configuration list.
            ///
            /// # Panics
            /// When `position` does not fit 16 bits; configuration checking refuses such lists.
            pub fn new(position: usize) -> Self {
                Self(u16::try_from(position).expect("configuration lists hold at most 65535 entries"))
            }

            /// The position in the configuration list.
            pub fn index(self) -> usize {
                usize::from(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index!(
    /// Position of a virtual key in `[[keys]]`.
    KeyId
);
index!(
    /// Position of an upstream in `[[upstreams]]`.
    UpstreamId
);
index!(
    /// Position of a route in `[[routes]]`.
    RouteId
);
index!(
    /// Position of a target in [`crate::routing::table::Table`].
    TargetId
);
