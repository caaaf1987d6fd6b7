//! Sales as their operators run them: seeded whole or not at all, rescheduled, cancelled, recalled; their pools of serial numbers;
//! and the opening saga. On an embedded database always; on a server when `DATABASE_URL` names one.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

mod buyers;
mod rescheduling;
mod seeding;
mod serials;

mod kit;
mod lateness;
mod openings;
mod picture;
