//! What amounts of an asset on a chain are called.

use sdpp_evm::{NETWORKS, Network, address_of};
use sdpp_proto::money::AssetId;

use super::address;
use crate::text::{decimal, symbol};

/// Whether an asset is the USDC of a known network: a millionth of it is called uUSDC.
pub(crate) fn is_usdc(asset: &AssetId) -> bool {
    let found = asset.as_str().strip_prefix("eip155:").and_then(|rest| rest.split_once("/erc20:"));
    let usdc = found.and_then(|(chain, _)| Network::find(chain)?.usdc);
    found.zip(usdc).is_some_and(|((_, token), usdc)| usdc.to_checksum(None) == token)
}

/// Whether it is this asset that people mean: by its whole name, `usdc`, `coin`, the coin's own name, or a token's address.
pub(crate) fn is_meant(asset: &AssetId, said: &str) -> bool {
    let kind = asset.as_str().strip_prefix("eip155:").and_then(|rest| rest.split_once('/')).map(|(_, kind)| kind);
    let (token, is_coin) = (kind.and_then(|kind| kind.strip_prefix("erc20:")), kind == Some("slip44:60"));
    match said.to_lowercase().as_str() {
        "usdc" => is_usdc(asset),
        "coin" => is_coin,
        name if name == coin(asset).to_lowercase() => is_coin,
        name if name == asset.as_str().to_lowercase() => true,
        _ => address(said).is_ok_and(|said| token.and_then(address_of) == Some(said)),
    }
}

/// An amount as people count it, where that is known: 1 500 000 uUSDC are 1.5 USDC.
pub(crate) fn human(asset: &AssetId, units: u128) -> Option<String> {
    let (decimals, name) = match symbol(asset) {
        "wei" => (18, coin(asset)),
        "uUSDC" => (6, "USDC"),
        _ => return None,
    };
    Some(format!("{} {name}", decimal(units, decimals)))
}

/// Name of a chain's own coin.
pub(crate) fn coin(asset: &AssetId) -> &'static str {
    let chain = asset.as_str().strip_prefix("eip155:").and_then(|rest| rest.split_once('/')).map(|(chain, _)| chain);
    let network = NETWORKS.iter().find(|network| chain == Some(network.chain.to_string().as_str()));
    network.map_or("coins", |network| network.coin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_meant_by_any_of_its_names() {
        let usdc = AssetId::new("eip155:8453/erc20:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
        let (coin, other) = (AssetId::new("eip155:137/slip44:60"), AssetId::new("eip155:8453/slip44:60"));
        for said in ["usdc", "USDC", usdc.as_str(), "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"] {
            assert!(is_meant(&usdc, said) && !is_meant(&coin, said), "{said}");
        }
        assert!(is_meant(&usdc, "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"));
        for said in ["coin", "pol", "POL", "eip155:137/slip44:60"] {
            assert!(is_meant(&coin, said) && !is_meant(&usdc, said), "{said}");
        }
        assert!(!is_meant(&other, "pol") && !is_meant(&other, coin.as_str()) && is_meant(&other, "ETH"));
        // Of a token that only calls itself so; and a digit is wrong.
        let fake = AssetId::new("eip155:8453/erc20:0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48");
        assert!(!is_meant(&fake, "usdc") && !is_meant(&usdc, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02914"));
        assert!(!is_meant(&usdc, "") && !is_meant(&usdc, "uUSDC"));
    }

    #[test]
    fn amounts_have_names() {
        let usdc = AssetId::new("eip155:8453/erc20:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
        let (coin, other) = (AssetId::new("eip155:137/slip44:60"), AssetId::new("eip155:1/erc20:0x0123456789abcdef"));
        assert_eq!(symbol(&usdc), "uUSDC");
        assert_eq!(symbol(&coin), "wei");
        assert_eq!(symbol(&other), "0x01234567");
        assert_eq!(symbol(&AssetId::new("uUSD@z6Mk")), "uUSD");
        assert_eq!(human(&usdc, 1_500_000).as_deref(), Some("1.5 USDC"));
        assert_eq!(human(&coin, 1).as_deref(), Some("0.000000000000000001 POL"));
        assert_eq!(human(&other, 1), None);
        assert_eq!(decimal(0, 6), "0");
        assert_eq!(decimal(1_000_000, 6), "1");
    }
}
