// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Directory} from "../src/Directory.sol";
import {Notary} from "../src/Notary.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {Test} from "./helpers/Test.sol";
import {Trees} from "./helpers/Trees.sol";

/// @notice What calls cost, as `forge snapshot --match-contract Gas` records in .gas-snapshot. Each test is one call
/// with cold storage; add 21,000 and the calldata for a transaction (tests/unit/ledger/test_artifacts.py does so on a
/// real node).
contract GasTest is Test {
    address private immutable mine = account("mine");
    Directory private directory;
    Notary private notary;
    bytes32 private root;
    bytes32 private digest;
    bytes32[] private path;

    function setUp() public {
        directory = new Directory(address(this));
        notary = new Notary(directory);
        directory.admit(mine, "Mine AG");
        bytes32[] memory batch = Trees.digests(0, 1000);
        (root, digest, path) = (Trees.root(batch), batch[333], Trees.path(batch, 333));
        vm.prank(mine);
        notary.anchor(root, 1000);
    }

    function test_Anchor() public {
        _cool();
        vm.prank(mine);
        uint256 before = gasleft();
        notary.anchor(bytes32(~uint256(0)), 1000);
        // 22,100 slot + 4,700 membership check + 1,756 event + 2,600 for the Notary (free in a transaction) + code.
        isTrue(before - gasleft() < 33_200, "an anchor writes or reads more than it has to");
    }

    function test_VerifyAmongAThousand() public {
        (bytes32 theRoot, bytes32 theDigest, bytes32[] memory thePath) = (root, digest, path);
        equal(thePath.length, 10, "path");
        _cool();
        uint256 before = gasleft();
        notary.verify(mine, theRoot, 1000, 333, theDigest, thePath);
        isTrue(before - gasleft() < 18_000, "verify costs more than 11 hashes and one storage read");
    }

    function test_Revoke() public {
        bytes32[] memory copy = path;
        _cool();
        vm.prank(mine);
        notary.revoke(digest, 0, bytes32(uint256(1)), root, 1000, 333, copy);
    }

    function test_PublishSigningKey() public {
        _publish(IDirectory.KeyUse.Signing, 78);
    }

    function test_PublishHybridRecipient() public {
        _publish(IDirectory.KeyUse.Recipient, 1959);
    }

    /// @dev Material without a zero byte, as text has none: a zero word would cost nothing to store.
    function _publish(IDirectory.KeyUse use, uint256 length) private {
        bytes memory material = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            material[i] = "q";
        }
        _cool();
        vm.prank(mine);
        directory.publishKey(use, material, 0, 0);
    }

    function _cool() private {
        vm.cool(address(directory));
        vm.cool(address(notary));
    }
}
