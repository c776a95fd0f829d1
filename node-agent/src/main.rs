//! The agent's program.

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if let (Some(_), Some(dir)) = (arguments.next().filter(|word| word == "shim"), arguments.next()) {
        if interlock_agent::shim::keep(dir.as_ref()).is_err() {
            return std::process::ExitCode::FAILURE;
        }
    }
    std::process::ExitCode::SUCCESS
}
