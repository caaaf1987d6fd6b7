//! `holdfast token`: its flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::Output;
use crate::auth::Role;
use crate::config::{Secret, duration_between};

const LIFETIME_MIN: Duration = Duration::from_secs(1);
const LIFETIME_MAX: Duration = Duration::from_hours(365 * 24);

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("whose").required(true).args(["role", "buyer"]))]
pub struct Token {
    /// For an operator: what its holder may do
    #[arg(long, value_enum, requires = "subject")]
    pub role: Option<Role>,
    /// With --role: who it is; the audit names them
    #[arg(long, requires = "role", value_name = "NAME")]
    pub subject: Option<String>,
    /// With --role: how long it is good for, such as 30m or 8h
    #[arg(
        long,
        requires = "role",
        default_value = "8h",
        value_name = "TIME",
        value_parser = duration_between(LIFETIME_MIN, LIFETIME_MAX)
    )]
    pub lifetime: Duration,
    /// For a buyer whom the shop's own sign-in knows by this name; the access token is good for an hour, and JSON output has the
    /// refresh token beside it
    #[arg(long, conflicts_with = "role", value_name = "NAME")]
    pub buyer: Option<String>,
    /// The key that the servers have. [default: the one in the data directory]
    #[arg(
        long = "token-key",
        env = "HOLDFAST_TOKEN_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub key: Option<Secret>,
    /// Where embedded mode keeps its key
    #[arg(
        long,
        env = "HOLDFAST_DATA_DIR",
        default_value = "holdfast-data",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}
