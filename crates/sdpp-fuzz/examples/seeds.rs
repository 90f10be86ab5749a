//! Writes the inputs that fuzzing begins with into a folder: `cargo run -p sdpp-fuzz --example seeds -- fuzz/corpus`.

use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("say where the corpora are: fuzz/corpus")?;
    for (number, (target, bytes)) in sdpp_fuzz::seeds::all().into_iter().enumerate() {
        let corpus = Path::new(&folder).join(target);
        fs::create_dir_all(&corpus)?;
        fs::write(corpus.join(format!("seed-{number:03}")), bytes)?;
    }
    Ok(())
}
