mod enable;
mod export;
mod ls;
mod name;
mod rm;
mod scan;
mod show;

commands! {
    /// Session keys on record
    KeyCommand {
        Ls(ls::KeyLsArgs),
        Show(show::KeyShowArgs),
        Export(export::KeyExportArgs),
        Rm(rm::KeyRmArgs),
        Name(name::KeyNameArgs),
        Scan(scan::KeyScanArgs),
        Enable(enable::KeyEnableArgs),
    }
}
