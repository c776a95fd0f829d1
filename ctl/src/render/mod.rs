//! What people and programs see.
//!
//! [`Out`] is the only way to standard output and standard error: data to the one, talk to the other. Everything else
//! here makes text or values and prints nothing.

mod beside;
mod blocks;
mod clean;
mod fit;
mod maintenance;
mod node;
mod operation;
mod out;
mod paint;
mod plan;
mod silence;
mod status;
mod table;
mod time;
mod words;
mod wrap;

pub(crate) use beside::Beside;
pub(crate) use blocks::{block_value, blocks_table};
pub(crate) use clean::{clean, clean_lines};
pub(crate) use fit::fit;
pub(crate) use maintenance::{maintenance_table, maintenance_value};
pub(crate) use node::{agent_text, agent_value, instance_value, node_text, node_value};
pub(crate) use operation::{
    ending, left_down, offered, operation_text, operation_tone, operation_value, operations_table,
    step_tone, store_trouble, summary_value,
};
pub(crate) use out::{Out, width_and_height};
pub(crate) use paint::{Paint, Tone};
pub(crate) use plan::{no_plan_line, report_lines};
pub(crate) use silence::{Silence, under_way};
pub(crate) use status::{status_text, status_value, told_refusals};
pub(crate) use table::{Table, cut};
pub(crate) use time::{age, clock_time, date_time, elapsed, moment, now_millis, rfc3339};
pub(crate) use words::{counted, instance_state, liveness, power, side, verdict, wanted};
pub(crate) use wrap::wrap;
