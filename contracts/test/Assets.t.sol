// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";

import {Assets} from "../src/Assets.sol";
import {IAssets} from "../src/interfaces/IAssets.sol";
import {INotary} from "../src/interfaces/INotary.sol";
import {AssetsFixture} from "./helpers/AssetsFixture.sol";

/// @notice How assets begin, what is linked to them, and their recall.
contract AssetsTest is AssetsFixture {
    function test_Constructor_WantsANotaryAndFollowsItsDirectory() public {
        equal(address(assets.notary()), address(notary), "notary");
        equal(address(assets.directory()), address(directory), "directory");
        vm.expectRevert(abi.encodeWithSelector(IAssets.NotaryHasNoCode.selector, outsider));
        new Assets(INotary(outsider));
    }

    function test_ATokenIsAnErc721WithoutItsTransfers() public {
        uint256 id = _lot(mine, 5e6, 0);
        isTrue(assets.supportsInterface(type(IERC721).interfaceId), "ERC-721");
        isTrue(assets.supportsInterface(type(IERC165).interfaceId), "ERC-165");
        equal(assets.ownerOf(id), mine, "owner");
        equal(assets.balanceOf(mine), 1, "balance");
        equal(assets.tokenURI(id), "", "URI");
        equal(assets.name(), "docex assets", "name");
        equal(assets.symbol(), "DOCEX", "symbol");
        _refused(mine, IAssets.CustodyMovesByOffer.selector);
        assets.transferFrom(mine, fab, id);
        _refused(mine, IAssets.CustodyMovesByOffer.selector);
        assets.safeTransferFrom(mine, fab, id);
        _refused(mine, IAssets.CustodyMovesByOffer.selector);
        assets.safeTransferFrom(mine, fab, id, "data");
        _refused(mine, IAssets.CustodyMovesByOffer.selector);
        assets.approve(fab, id);
        _refused(mine, IAssets.CustodyMovesByOffer.selector);
        assets.setApprovalForAll(fab, true);
    }

    // Create

    function test_Create_BeginsEachAndLinksItsEvidence() public {
        IAssets.Spec[] memory specs = new IAssets.Spec[](2);
        specs[0] = IAssets.Spec(IAssets.Kind.Lot, "KGM", 40e6, 40e6);
        specs[1] = IAssets.Spec(IAssets.Kind.Component, "H87", 1e6, 12);
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectEmit(address(assets));
            emit IAssets.Created(i + 1, mine, specs[i]);
            vm.expectEmit(address(assets));
            emit IAssets.Linked(i + 1, mine, proofs[2].digest, mine);
        }
        vm.prank(mine);
        equal(assets.create(specs, proofs[2]), 1, "first");
        _isLive(1, mine, 40e6, 40e6);
        _isLive(2, mine, 1e6, 12);
        IAssets.Asset memory asset = assets.assetOf(2);
        equal(uint256(asset.kind), uint256(IAssets.Kind.Component), "kind");
        equal(asset.unit, "H87", "unit");
        equal(asset.maker, mine, "maker");
        isTrue(assets.isLinked(2, mine, proofs[2].digest), "linked");
        equal(assets.assetCount(), 2, "count");
        equal(_lot(mine, 1, 0), 3, "the next id");
    }

    function test_Create_OnlyByAnActiveMemberWithAnybodysStatement() public {
        _refused(outsider, IAssets.NotActiveMember.selector, outsider);
        assets.create(_specs(1, 1, 0), proofs[0]);
        directory.suspend(mine);
        _refused(mine, IAssets.NotActiveMember.selector, mine);
        assets.create(_specs(1, 1, 0), proofs[0]);
        vm.prank(fab);
        uint256 id = assets.create(_specs(1, 1, 0), proofs[0]);
        equal(assets.assetOf(id).maker, fab, "maker");
    }

    function test_Create_WantsAnAnchoredStatement() public {
        IAssets.Evidence memory evidence = proofs[0];
        evidence.issuer = fab;
        vm.expectRevert(abi.encodeWithSelector(INotary.NotAnchored.selector, fab, root, 5));
        vm.prank(fab);
        assets.create(_specs(1, 1, 0), evidence);
        evidence = proofs[0];
        evidence.index = 5;
        vm.expectRevert(abi.encodeWithSelector(INotary.IndexOutOfRange.selector, 5, 5));
        vm.prank(mine);
        assets.create(_specs(1, 1, 0), evidence);
    }

    function test_Create_RefusesAStatementRevokedByItsIssuerFromThatTimeOn() public {
        IAssets.Evidence memory evidence = proofs[0];
        vm.prank(mine);
        notary.revoke(evidence.digest, START + 10, REASON, root, 5, 0, evidence.path);
        vm.warp(START + 9);
        _lot(fab, 1, 0);
        vm.warp(START + 10);
        vm.expectRevert(
            abi.encodeWithSelector(IAssets.EvidenceRevoked.selector, mine, evidence.digest, uint64(START + 10))
        );
        vm.prank(fab);
        assets.create(_specs(1, 1, 0), evidence);
    }

    function test_Create_AnothersRevocationOfTheSameDigestSaysNothing() public {
        IAssets.Evidence memory evidence = proofs[0];
        vm.prank(lab);
        notary.anchor(root, 5);
        vm.prank(lab);
        notary.revoke(evidence.digest, 0, REASON, root, 5, 0, evidence.path);
        _lot(fab, 1, 0);
    }

    function test_Create_RefusesWhatIsNoLotOrComponent() public {
        IAssets.Spec memory spec = _spec(1, 0);
        spec.kind = IAssets.Kind.Bundle;
        _cannotCreate(spec, abi.encodeWithSelector(IAssets.BadKind.selector, IAssets.Kind.Bundle));
        _cannotCreate(_spec(0, 1), abi.encodeWithSelector(IAssets.NoQuantity.selector));
        spec = IAssets.Spec(IAssets.Kind.Lot, "KGM", 5, 6);
        _cannotCreate(spec, abi.encodeWithSelector(IAssets.MassIsNotQuantity.selector, 6, 5));
        bytes3[7] memory bad = [bytes3(0), "kgm", "A B", "K.", hex"410042", hex"004142", hex"4142ff"];
        for (uint256 i = 0; i < bad.length; ++i) {
            spec = IAssets.Spec(IAssets.Kind.Lot, bad[i], 5, 0);
            _cannotCreate(spec, abi.encodeWithSelector(IAssets.BadUnit.selector, bad[i]));
        }
    }

    function test_Create_TakesEveryFormOfUnit() public {
        bytes3[6] memory units = [bytes3("KGM"), "4G", "5", "ZZ9", "A0Z", "09"];
        for (uint256 i = 0; i < units.length; ++i) {
            IAssets.Spec[] memory specs = new IAssets.Spec[](1);
            specs[0] = IAssets.Spec(IAssets.Kind.Lot, units[i], type(uint128).max, 0);
            vm.prank(mine);
            uint256 id = assets.create(specs, proofs[0]);
            equal(assets.assetOf(id).unit, units[i], "unit");
        }
    }

    function test_Create_OneTo128() public {
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 0, 1, 128));
        vm.prank(mine);
        assets.create(_specs(0, 1, 0), proofs[0]);
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 129, 1, 128));
        vm.prank(mine);
        assets.create(_specs(129, 1, 0), proofs[0]);
    }

    function _cannotCreate(IAssets.Spec memory spec, bytes memory reason) private {
        IAssets.Spec[] memory specs = new IAssets.Spec[](1);
        specs[0] = spec;
        vm.expectRevert(reason);
        vm.prank(mine);
        assets.create(specs, proofs[0]);
    }

    // Link

    function test_Link_OnceForEachAssetIssuerAndDigest() public {
        uint256 first = _lot(mine, 1, 0);
        uint256 second = _lot(mine, 1, 0);
        vm.expectEmit(address(assets));
        emit IAssets.Linked(first, mine, proofs[1].digest, mine);
        vm.expectEmit(address(assets));
        emit IAssets.Linked(second, mine, proofs[1].digest, mine);
        vm.prank(mine);
        assets.link(_ids(first, second), proofs[1]);
        vm.expectRevert(abi.encodeWithSelector(IAssets.AlreadyLinked.selector, second, mine, proofs[1].digest));
        vm.prank(mine);
        assets.link(_ids(second), proofs[1]);
        // A copy that somebody else anchored can't take the place of the issuer's own.
        vm.prank(lab);
        notary.anchor(root, 5);
        IAssets.Evidence memory copy = proofs[1];
        copy.issuer = lab;
        isTrue(!assets.isLinked(first, lab, copy.digest), "not yet");
        vm.prank(mine);
        assets.link(_ids(first), copy);
        isTrue(assets.isLinked(first, lab, copy.digest), "the copy, too");
    }

    function test_Link_OnlyByTheHolderOfTheOutermostBundle() public {
        uint256 id = _lot(mine, 1, 0);
        uint256 pallet = _bundle(mine, _ids(_bundle(mine, _ids(id))));
        _give(pallet, mine, fab);
        _refused(mine, IAssets.NotHolder.selector, id, mine);
        assets.link(_ids(id), proofs[1]);
        _refused(address(assets), IAssets.NotActiveMember.selector, address(assets));
        assets.link(_ids(id), proofs[1]);
        vm.prank(fab);
        assets.link(_ids(id), proofs[1]);
        isTrue(assets.isLinked(id, mine, proofs[1].digest), "linked");
    }

    function test_Link_OnlyToLiveAssetsWithGoodEvidence() public {
        uint256 id = _lot(mine, 4, 0);
        _refused(mine, IAssets.NotLive.selector, 9, uint256(IAssets.State.Unknown));
        assets.link(_ids(9), proofs[1]);
        vm.prank(mine);
        assets.split(id, _parts(1, 3, 0, 0));
        _refused(mine, IAssets.NotLive.selector, id, uint256(IAssets.State.Split));
        assets.link(_ids(id), proofs[1]);
        IAssets.Evidence memory evidence = proofs[1];
        evidence.size = 6;
        vm.expectRevert(abi.encodeWithSelector(INotary.NotAnchored.selector, mine, root, 6));
        vm.prank(mine);
        assets.link(_ids(id + 1), evidence);
        vm.expectRevert(abi.encodeWithSelector(IAssets.BadCount.selector, 0, 1, 128));
        vm.prank(mine);
        assets.link(new uint256[](0), proofs[1]);
    }

    // Recall

    function test_Recall_ByMakerAndHolderOnceEach() public {
        uint256 id = _lot(mine, 1, 0);
        _give(id, mine, fab);
        isTrue(!assets.assetOf(id).recalled, "not yet");
        vm.expectEmit(address(assets));
        emit IAssets.Recalled(id, fab, REASON);
        _recall(id, fab);
        isTrue(assets.assetOf(id).recalled, "recalled");
        _refused(fab, IAssets.AlreadyRecalled.selector, id, fab);
        assets.recall(id, RECEIPT);
        vm.prank(mine);
        assets.recall(id, RECEIPT);
        equal(assets.recallOf(id, fab), REASON, "the holder's");
        equal(assets.recallOf(id, mine), RECEIPT, "the maker's");
    }

    function test_Recall_ByNobodyElse() public {
        uint256 id = _lot(mine, 1, 0);
        _refused(fab, IAssets.NotMakerOrHolder.selector, id, fab);
        assets.recall(id, REASON);
        _refused(mine, IAssets.NotMakerOrHolder.selector, 9, mine);
        assets.recall(9, REASON);
        _refused(mine, IAssets.NoRecallStatement.selector);
        assets.recall(id, 0);
        directory.suspend(mine);
        _refused(mine, IAssets.NotActiveMember.selector, mine);
        assets.recall(id, REASON);
    }

    function test_Recall_ByTheMakerOfWhatHasEndedAndTheHolderOfWhatIsBundled() public {
        uint256 id = _lot(mine, 1, 5);
        _give(id, mine, fab);
        vm.prank(fab);
        uint256 made = assets.transform(_ids(id), _specs(1, 1, 5));
        _recall(id, mine);
        isTrue(assets.assetOf(id).recalled, "what has ended");
        isTrue(!assets.assetOf(made).recalled, "what is made of it is for readers to find");
        _refused(fab, IAssets.NotMakerOrHolder.selector, id, fab);
        assets.recall(id, REASON);
        uint256 pallet = _bundle(fab, _ids(made));
        _give(pallet, fab, shop);
        _recall(made, shop);
        isTrue(assets.assetOf(made).recalled, "in a bundle");
        isTrue(!assets.assetOf(pallet).recalled, "not the bundle");
    }

    function test_Recall_LeavesOnlyTheWayBack() public {
        uint256 id = _lot(mine, 2, 0);
        uint256 pallet = _bundle(mine, _ids(_lot(mine, 1, 0)));
        _recall(id, mine);
        _recall(pallet, mine);
        _refused(mine, IAssets.AssetRecalled.selector, id);
        assets.split(id, _parts(1, 1, 0, 0));
        _refused(mine, IAssets.AssetRecalled.selector, id);
        assets.transform(_ids(id), _specs(1, 1, 0));
        _refused(mine, IAssets.AssetRecalled.selector, id);
        assets.bundle(_ids(id), "here");
        _refused(mine, IAssets.AssetRecalled.selector, pallet);
        assets.bundle(_ids(pallet), "here");
        _give(id, mine, fab);
        vm.prank(fab);
        assets.link(_ids(id), proofs[1]);
        vm.prank(mine);
        assets.unbundle(pallet);
    }
}
