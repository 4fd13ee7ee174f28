//! The binary `strongroom`. Everything it does stands in the library beside it.

/// Memory given back is zeroed, so keys and rows do not linger in it.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    strongroom_cli::run(std::env::args_os())
}
