//! The gate and the database, brought back into line: the rebuild on a real Redis that forgets, lies or is replaced, and the
//! reconciler, which names each difference and mends it. The database is the server of `DATABASE_URL` when there is one.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

mod rebuilding;
mod scale;

mod differences;
mod leaks;
mod lies;
mod quiet;
