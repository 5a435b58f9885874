// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.28;

// What session keys of the end-to-end tests act on. `build` beside this file compiles it into targets.json.

/// The first example of ZeroDev's documentation: mint(address).
contract Nft {
    mapping(address => uint256) public balanceOf;
    uint256 public totalSupply;

    event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);

    function mint(address to) external returns (uint256 id) {
        id = ++totalSupply;
        balanceOf[to] += 1;
        emit Transfer(address(0), to, id);
    }
}

/// An ERC-20 that anyone may mint.
contract Token {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    uint256 public totalSupply;
    string public constant name = "Test Token";
    string public constant symbol = "TST";
    uint8 public constant decimals = 18;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    function mint(address to, uint256 amount) external {
        totalSupply += amount;
        balanceOf[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return move(msg.sender, to, amount);
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        require(allowance[from][msg.sender] >= amount, "Token: allowance");
        allowance[from][msg.sender] -= amount;
        return move(from, to, amount);
    }

    function move(address from, address to, uint256 amount) private returns (bool) {
        require(balanceOf[from] >= amount, "Token: balance");
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        emit Transfer(from, to, amount);
        return true;
    }
}

/// One argument of every kind a condition can be about, and money.
contract Board {
    struct Order {
        address token;
        uint256 amount;
    }

    mapping(address => uint256) public count;
    uint256 public last;

    function tick() external {
        count[msg.sender] += 1;
    }

    function set(uint256 value) external {
        count[msg.sender] += 1;
        last = value;
    }

    // An overload of the above.
    function set(uint256 value, bool flag) external {
        count[msg.sender] += 1;
        last = flag ? value : 0;
    }

    function post(Order calldata order, uint256[2] calldata ids, bytes4 tag, int256 delta, bool flag) external {
        require(tag != 0, "Board: no tag");
        count[msg.sender] += 1;
        last = order.amount + ids[0] + ids[1] + (flag && delta > 0 ? uint256(delta) : 0);
    }

    function note(string calldata text) external {
        count[msg.sender] += bytes(text).length;
    }

    function pay() external payable {
        count[msg.sender] += 1;
        last = msg.value;
    }
}

/// Every way an inner call can fail.
contract Reverter {
    error Broke(uint256 code, string why);

    function boom() external pure {
        revert("boom");
    }

    function broke() external pure {
        revert Broke(7, "on purpose");
    }

    function panics(uint256 by) external pure returns (uint256) {
        return 1 / by;
    }

    function silent() external pure {
        assembly {
            revert(0, 0)
        }
    }
}

/// Says as whom it ran: the account itself, when delegatecalled.
contract Mark {
    event Marked(address self);

    function mark() external {
        emit Marked(address(this));
    }
}
