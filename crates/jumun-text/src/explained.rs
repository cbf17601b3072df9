//! Errors that explain themselves: a code that stays the same over releases, and what to do.

/// Gives an error `code()` and `remedy()`: a row for each case, in the order in which they are tried. A row that names an error
/// has the code and the remedy of that.
///
/// ```
/// enum LogError {
///     Missing,
///     Damaged { segment: u32 },
/// }
/// enum ReadError {
///     TooLong,
///     Log(LogError),
/// }
///
/// jumun_text::explained! { LogError {
///     Self::Missing => "log-missing", "Start its service.";
///     Self::Damaged { segment: 0 } => "log-damaged", "Delete it: it is empty.";
///     Self::Damaged { .. } => "log-damaged", "Restore it.";
/// } }
/// jumun_text::explained! { ReadError {
///     Self::TooLong => "read-too-long", "Ask for less.";
///     Self::Log(error) => error;
/// } }
///
/// assert_eq!(ReadError::Log(LogError::Missing).code(), "log-missing");
/// assert_eq!(ReadError::Log(LogError::Damaged { segment: 7 }).remedy(), "Restore it.");
/// ```
#[macro_export]
macro_rules! explained {
    (@code $error:expr) => { $error.code() };
    (@code $code:expr, $remedy:expr) => { $code };
    (@remedy $error:expr) => { $error.remedy() };
    (@remedy $code:expr, $remedy:expr) => { $remedy };
    ($Error:ty { $( $case:pat => $code:expr $(, $remedy:expr)?; )+ }) => {
        #[allow(unused_variables, reason = "a row may use what it binds for its code only")]
        impl $Error {
            /// The error code. It stays the same over releases.
            pub const fn code(&self) -> &'static str {
                match self { $( $case => $crate::explained!(@code $code $(, $remedy)?), )+ }
            }

            /// What to do about it.
            pub const fn remedy(&self) -> &'static str {
                match self { $( $case => $crate::explained!(@remedy $code $(, $remedy)?), )+ }
            }
        }
    };
}
