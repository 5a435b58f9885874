// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// Things to point a session key at: an NFT that anyone may mint, a token, and a lending market.

contract DemoNft {
    event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);

    string public constant name = "Sandbox NFT";
    string public constant symbol = "SNFT";

    uint256 public totalSupply;
    mapping(uint256 tokenId => address) public ownerOf;
    mapping(address owner => uint256) public balanceOf;

    function mint(address to) external returns (uint256 tokenId) {
        require(to != address(0), "DemoNft: no recipient");
        tokenId = ++totalSupply;
        ownerOf[tokenId] = to;
        balanceOf[to]++;
        emit Transfer(address(0), to, tokenId);
    }

    function transferFrom(address from, address to, uint256 tokenId) external {
        require(ownerOf[tokenId] == from && msg.sender == from, "DemoNft: not yours");
        require(to != address(0), "DemoNft: no recipient");
        ownerOf[tokenId] = to;
        balanceOf[from]--;
        balanceOf[to]++;
        emit Transfer(from, to, tokenId);
    }
}

contract DemoToken {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    string public constant name = "Sandbox Dollar";
    string public constant symbol = "SUSD";
    uint8 public constant decimals = 6;

    uint256 public totalSupply;
    mapping(address owner => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    /// Anyone may mint: it is worth nothing.
    function mint(address to, uint256 value) external {
        totalSupply += value;
        balanceOf[to] += value;
        emit Transfer(address(0), to, value);
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        _move(msg.sender, to, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        require(allowed >= value, "DemoToken: allowance too low");
        if (allowed != type(uint256).max) allowance[from][msg.sender] = allowed - value;
        _move(from, to, value);
        return true;
    }

    function _move(address from, address to, uint256 value) private {
        require(balanceOf[from] >= value, "DemoToken: balance too low");
        balanceOf[from] -= value;
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}

/// A lending market on paper: a position is two numbers, collateral and debt, and anyone can move the price. It tells the story
/// of a watcher that repays or closes before a position is liquidated.
contract DemoLending {
    struct Position {
        uint256 collateral;
        uint256 debt;
    }

    event Opened(address indexed owner, uint256 collateral, uint256 debt);
    event Repaid(address indexed owner, uint256 amount, uint256 debtLeft);
    event Closed(address indexed owner, uint256 collateralBack);
    event PriceMoved(uint256 pricePercent);

    /// Below this ratio of collateral to debt a position counts as close to liquidation.
    uint256 public constant AT_RISK_PERCENT = 150;

    /// Value of one unit of collateral in hundredths of a unit of debt; 0 = never moved, stands for 100.
    uint256 private _pricePercent;
    mapping(address owner => Position) public positions;

    function open(uint256 collateral, uint256 debt) external {
        Position storage position = positions[msg.sender];
        position.collateral += collateral;
        position.debt += debt;
        require(healthPercent(msg.sender) >= AT_RISK_PERCENT, "DemoLending: not enough collateral");
        emit Opened(msg.sender, position.collateral, position.debt);
    }

    function repay(address owner, uint256 amount) external {
        Position storage position = positions[owner];
        require(amount <= position.debt, "DemoLending: more than the debt");
        position.debt -= amount;
        emit Repaid(owner, amount, position.debt);
    }

    function close() public {
        Position memory position = positions[msg.sender];
        require(position.collateral != 0, "DemoLending: no position");
        delete positions[msg.sender];
        emit Closed(msg.sender, position.collateral);
    }

    /// The guard a session key is pointed at: what a permission cannot express, the target checks.
    function closeIfAtRisk() external {
        require(healthPercent(msg.sender) < AT_RISK_PERCENT, "DemoLending: position is healthy");
        close();
    }

    function movePrice(uint256 pricePercent_) external {
        require(pricePercent_ != 0, "DemoLending: no price");
        _pricePercent = pricePercent_;
        emit PriceMoved(pricePercent_);
    }

    function pricePercent() public view returns (uint256) {
        return _pricePercent == 0 ? 100 : _pricePercent;
    }

    /// Value of the collateral in percent of the debt; without debt as healthy as can be.
    function healthPercent(address owner) public view returns (uint256) {
        Position memory position = positions[owner];
        return position.debt == 0 ? type(uint256).max : position.collateral * pricePercent() / position.debt;
    }
}
