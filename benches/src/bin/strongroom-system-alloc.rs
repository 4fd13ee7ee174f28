//! The binary `strongroom` but for one line: memory given back is not zeroed. For `figures` alone.

fn main() -> std::process::ExitCode {
    strongroom_cli::run(std::env::args_os())
}
