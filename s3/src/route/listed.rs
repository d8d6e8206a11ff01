//! Enums that know all of their variants.

/// Declares enums, each with a list of all its values, so that none can be forgotten by what goes through them. A variant that
/// holds another such enum stands in the list once for each value of that one.
macro_rules! listed {
    ($(
        $(#[$about:meta])*
        pub enum $name:ident {
            $($(#[$of_variant:meta])* $variant:ident $(($held:ident))?,)*
        }
    )*) => {$(
        $(#[$about])*
        pub enum $name {
            $($(#[$of_variant])* $variant $(($held))?,)*
        }

        impl $name {
            /// All there are.
            pub fn all() -> Vec<Self> {
                [$(listed!(@of Self::$variant $(, $held)?),)*].concat()
            }
        }
    )*};
    (@of $variant:path) => {
        vec![$variant]
    };
    (@of $variant:path, $held:ident) => {
        $held::all().into_iter().map($variant).collect::<Vec<_>>()
    };
}

pub(super) use listed;
